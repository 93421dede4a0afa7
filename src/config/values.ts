import { parseSize } from "../lib/size.ts";
import type { Kind } from "./keys.ts";

/** REX-Ray's log levels, and what ours are called (spec/rexray.md 2.3). */
const LEVELS: Readonly<Record<string, string>> = {
  panic: "fatal",
  fatal: "fatal",
  error: "error",
  warn: "warn",
  warning: "warn",
  info: "info",
  debug: "debug",
  trace: "trace",
};

/** Reads one value as its kind demands. Throws an Error whose message is the rule. */
export function readValue(kind: Kind, value: unknown): string | number | boolean {
  const text = String(value).trim();
  switch (kind) {
    case "boolean":
      if (/^(true|t|yes|on|1)$/i.test(text)) return true;
      if (/^(false|f|no|off|0)$/i.test(text)) return false;
      throw new Error("must be true or false");
    case "integer":
      if (/^\d{1,9}$/.test(text)) return Number(text);
      throw new Error("must be a whole number from 0");
    case "octal":
      // YAML 1.2 reads 0755 as a decimal number; what people mean is a mode.
      if (/^0?[0-7]{3,4}$/.test(text)) return Number.parseInt(text, 8);
      throw new Error('must be a mode in octal, for instance "0755"');
    case "duration": {
      const match = /^(\d{1,6})(ms|s|m)?$/.exec(text);
      if (match === null) throw new Error('must be a time, for instance "5s" or "500ms"');
      return Number(match[1]) * ({ ms: 1, s: 1000, m: 60_000 }[match[2] ?? "s"] ?? 1000);
    }
    case "size":
      return parseSize(text);
    case "level": {
      const level = LEVELS[text.toLowerCase()];
      if (level === undefined) throw new Error("must be panic, fatal, error, warn, info, debug or trace");
      return level;
    }
    case "path":
    case "text":
      if (typeof value === "object" && value !== null) throw new Error("must be a text");
      return value === null ? "" : text;
  }
}

/** The candidate nearest to a mistyped word, if any is near enough to have been meant. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined;
  let least = Math.max(3, Math.ceil(word.length / 4)) + 1;
  for (const candidate of candidates) {
    const d = distance(word.toLowerCase(), candidate.toLowerCase());
    if (d < least) [best, least] = [candidate, d];
  }
  return best;
}

function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}
