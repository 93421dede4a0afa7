/** JSON as Go's encoding/json writes and reads it, as far as the protocol needs. */

/** Compact, with HTML characters and line separators escaped. */
export const encode = (value: unknown): string =>
  JSON.stringify(value).replace(
    /[<>&\u2028\u2029]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );

/** The first value of the text; what follows is ignored. Throws an Error with the decoder's words: "EOF" for nothing at all. */
export function decodeFirst(text: string): unknown {
  const start = text.search(/\S/);
  if (start < 0) throw new Error("EOF");
  const end = endOfValue(text, start);
  try {
    return JSON.parse(text.slice(start, end));
  } catch {
    if (end === text.length && /^[[{"]/.test(text.slice(start))) throw new Error("unexpected EOF");
    throw new Error(`invalid character '${text[start]}' looking for beginning of value`);
  }
}

function endOfValue(text: string, start: number): number {
  let depth = 0;
  let quoted = false;
  for (let i = start; i < text.length; i++) {
    const char = text[i] as string;
    if (quoted) {
      if (char === "\\") i++;
      else if (char === '"') quoted = false;
    } else if (char === '"') quoted = true;
    else if (char === "{" || char === "[") depth++;
    else if (char === "}" || char === "]") depth--;
    else if (depth === 0 && /\s/.test(char)) return i;
    if (!quoted && depth === 0 && /["}\]]/.test(char)) return i + 1;
  }
  return text.length;
}

/** A member by its name in any case; null counts as absent. */
export function member(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  const entries = Object.entries(value).filter(([key]) => key.toLowerCase() === name.toLowerCase());
  return entries.at(-1)?.[1] ?? undefined;
}

/** A string member, "" when absent. Throws with the decoder's words when it is something else. */
export function text(value: unknown, name: string): string {
  const found = member(value, name);
  if (found === undefined) return "";
  if (typeof found === "string") return found;
  const kind = Array.isArray(found) ? "array" : typeof found === "boolean" ? "bool" : typeof found;
  throw new Error(`json: cannot unmarshal ${kind} into Go struct field ${name} of type string`);
}
