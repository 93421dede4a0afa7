import type { StatusReport } from "../admin/report.ts";
import { duration } from "../lib/times.ts";
import type { WorkKind } from "../scaleio/model.ts";
import { bytes } from "./text.ts";

const KINDS: readonly WorkKind[] = ["rebuild", "rebalance", "absorb"];

const timeLeft = (seconds: number | null) => (seconds === null ? "" : `, ${duration(seconds)} left`);

/**
 * What goes on in the background, a line for each kind, for instance "rebuild: 512 MiB to do, 40 s left". With a memory of how much
 * there was at the most, kept from look to look, it says how much of it is done.
 */
export function progressLines(
  { pools, scans }: Pick<StatusReport, "pools" | "scans">,
  most: Map<string, number> = new Map(),
): string[] {
  const work = pools.flatMap((pool) =>
    KINDS.flatMap((kind) => {
      const left = pool[`${kind}Bytes`];
      const all = Math.max(left, most.get(kind) ?? 0);
      most.set(kind, left === 0 ? 0 : all);
      if (left === 0) return [];
      const done = all > left ? `${percent(all - left, all)} done, ` : "";
      return [`${kind}: ${done}${bytes(left)} to do${timeLeft(pool[`${kind}SecondsLeft`])}`];
    }),
  );
  return [...work, ...scans.map((scan) => `scan of ${scan.volume}: ${scanText(scan)}`)];
}

/** "37 % done, 12 s left". */
export const scanText = ({ chunks, done, secondsLeft }: StatusReport["scans"][number]): string =>
  `${percent(done, chunks)} done${timeLeft(secondsLeft)}`;

const percent = (part: number, whole: number) => `${Math.floor((100 * part) / whole)} %`;
