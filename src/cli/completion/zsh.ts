import type { Level, Word } from "./levels.ts";

/** A function for zsh's `fpath`; shows what each word does. File names are what an argument may be. */
export function zshCompletion(program: string, levels: readonly Level[]): string {
  const name = `_${program.replaceAll("-", "_")}`;
  return `#compdef ${program}
# zsh completion of ${program}, made by \`${program} completion zsh\`
${name}() {
  local at=${program} word value=
  local -a next opts valued args dir found
  integer i n=1
  for ((i = 2; i <= CURRENT; i++)); do
    next=() opts=() valued=() args=()
    case $at in
${levels.map(levelCase).join("\n")}
    esac
    ((i < CURRENT)) || break
    word=$words[i]
    if [[ -n $value ]]; then
      [[ $value == --run-dir ]] && dir=(--run-dir "$word")
      value=
    elif ((valued[(Ie)$word])); then
      value=$word
    elif ((next[(I)\${(b)word}:*])); then
      at+=" $word"
    elif [[ $word != -* ]]; then
      ((++n))
    fi
  done
  # The last argument may be one of several.
  ((n <= $#args)) || n=$#args
  if [[ -z $value && $words[CURRENT] == -* ]]; then
    _describe -o option opts
  elif [[ -z $value && $#next -gt 0 ]]; then
    _describe command next
  elif [[ -z $value && $n -gt 0 && $args[n] != - ]]; then
    found=(\${(f)"$(${program} complete $args[n] $dir 2>/dev/null)"})
    _describe argument found
  else
    _files
  fi
}
${name} "$@"
`;
}

function levelCase({ path, words, options, valued, args }: Level): string {
  return `      '${path}')
        next=(${words.map(described).join(" ")})
        opts=(${options.map(described).join(" ")})
        valued=(${valued.join(" ")})
        args=(${args.join(" ")})
        ;;`;
}

/** `_describe` wants "word:help", in one word of the shell. */
const described = ({ word, help }: Word) => `'${`${word}:${help}`.replaceAll("'", "'\\''")}'`;
