import { Parser } from "tap-parser";

/** A run of tap in numbers and names; a test that only contains others counts by those. */
export interface TapRun {
  readonly passed: number;
  /** Names, as `FILE > TEST > ASSERTION`. */
  readonly failures: readonly string[];
  readonly skips: readonly { readonly name: string; readonly reason: string }[];
}

/** Reads raw TAP with tap's own parser, so that the counts are those that tap prints. */
export function readTap(text: string): TapRun {
  let passed = 0;
  const failures: string[] = [];
  const skips: { name: string; reason: string }[] = [];
  const parser = new Parser();
  parser.on("result", ({ ok, skip, todo, fullname }) => {
    if (todo !== false) return;
    if (skip !== false) skips.push({ name: fullname, reason: skip === true ? "no reason given" : skip });
    else if (ok) passed++;
    else failures.push(fullname);
  });
  parser.end(text);
  return { passed, failures, skips };
}
