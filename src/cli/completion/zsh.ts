import type { Level, Word } from "./levels.ts";

/** A function for zsh's `fpath`; shows what each word does. File names are what an argument may be. */
export function zshCompletion(program: string, levels: readonly Level[]): string {
  const name = `_${program.replaceAll("-", "_")}`;
  return `#compdef ${program}
# zsh completion of ${program}, made by \`${program} completion zsh\`
${name}() {
  local at=${program} word value=
  local -a next opts valued
  integer i
  for ((i = 2; i <= CURRENT; i++)); do
    next=() opts=() valued=()
    case $at in
${levels.map(levelCase).join("\n")}
    esac
    ((i < CURRENT)) || break
    word=$words[i]
    if [[ -n $value ]]; then
      value=
    elif ((valued[(Ie)$word])); then
      value=yes
    elif ((next[(I)\${(b)word}:*])); then
      at+=" $word"
    fi
  done
  if [[ -z $value && $words[CURRENT] == -* ]]; then
    _describe -o option opts
  elif [[ -z $value && $#next -gt 0 ]]; then
    _describe command next
  else
    _files
  fi
}
${name} "$@"
`;
}

function levelCase({ path, words, options, valued }: Level): string {
  return `      '${path}')
        next=(${words.map(described).join(" ")})
        opts=(${options.map(described).join(" ")})
        valued=(${valued.join(" ")})
        ;;`;
}

/** `_describe` wants "word:help", in one word of the shell. */
const described = ({ word, help }: Word) => `'${`${word}:${help}`.replaceAll("'", "'\\''")}'`;
