import type { Level } from "./levels.ts";

/** Works with and without the package bash-completion: it asks bash itself only. File names are what an argument may be. */
export function bashCompletion(program: string, levels: readonly Level[]): string {
  const name = `_${program.replaceAll("-", "_")}`;
  return `# bash completion of ${program}, made by \`${program} completion bash\`
${name}() {
  local at=${program} cur=\${COMP_WORDS[COMP_CWORD]} word words options valued value= i n=0
  local -a args dir
  for ((i = 1; i <= COMP_CWORD; i++)); do
    words= options= valued= args=()
    case $at in
${levels.map(levelCase).join("\n")}
    esac
    ((i < COMP_CWORD)) || break
    word=\${COMP_WORDS[i]}
    if [[ $value ]]; then
      # bash makes a word of the sign in --option=value.
      [[ $word == = ]] && continue
      [[ $value == --run-dir ]] && dir=(--run-dir "$word")
      value=
    elif [[ " $valued " == *" $word "* ]]; then
      value=$word
    elif [[ " $words " == *" $word "* ]]; then
      at+=" $word"
    elif [[ $word != -* ]]; then
      ((++n))
    fi
  done
  [[ $value ]] && return
  # The last argument may be one of several.
  ((n < \${#args[@]})) || n=$((\${#args[@]} - 1))
  if [[ $cur == -* ]]; then
    words=$options
  elif ((n >= 0)) && [[ \${args[n]} != - ]]; then
    words=$(${program} complete "\${args[n]}" "\${dir[@]}" 2>/dev/null)
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -o default -F ${name} ${program}
`;
}

function levelCase({ path, words, options, valued, args }: Level): string {
  const plain = (list: readonly { word: string }[]) => list.map(({ word }) => word).join(" ");
  return `      '${path}') words='${plain(words)}' options='${plain(options)}' valued='${valued.join(" ")}' args=(${args.join(" ")}) ;;`;
}
