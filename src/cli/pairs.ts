import { SimError } from "../lib/errors.ts";

/** KEY=VALUE words of a command line. Throws invalid_argument, with `remedy` ("`fault types` lists them"). */
export function pairsOf(words: readonly string[], remedy: string): Record<string, string> {
  return Object.fromEntries(
    words.map((word) => {
      const at = word.indexOf("=");
      if (at > 0) return [word.slice(0, at), word.slice(at + 1)];
      throw new SimError("invalid_argument", `"${word}" has no value: write KEY=VALUE; ${remedy}`);
    }),
  );
}
