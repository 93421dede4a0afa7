import type { ClusterStatus } from "../model.ts";
import { workLeft } from "./alerts.ts";
import { type Happening, isRebalanced } from "./changes.ts";

/** Each of so many parts of the work is told of. */
const PARTS = 4;

const KINDS = [
  { kind: "rebuild", name: "REBUILD_PROGRESS" },
  { kind: "rebalance", name: "REBALANCE_PROGRESS" },
] as const;

type Pool = ClusterStatus["pools"][number];

/** A piece of work: how much it was at the most, how many parts have been told of, and whether a time left has. */
interface Piece {
  readonly most: number;
  readonly parts: number;
  readonly timed: boolean;
}

/** Tells how far a rebuild or rebalance is: when the time left is first known, and at each quarter. */
export class Progress {
  readonly #pieces = new Map<string, Piece>();

  /** At each look. */
  note({ pools, alerts }: ClusterStatus): Happening[] {
    return pools.flatMap((pool) => {
      const why = alerts.find(
        ({ type, affectedObject }) => type === "STORAGE_POOL_HAS_DEGRADED_CAPACITY" && affectedObject === pool.name,
      );
      return KINDS.flatMap(({ kind, name }) => {
        const done = this.#next(pool, kind);
        if (done === undefined) return [];
        const what =
          kind === "rebuild" && why !== undefined ? why.text : `${pool.name}: ${kind}: ${workLeft(pool, kind)}`;
        return [{ name, severity: "info" as const, text: `${what}, ${done} % done` }];
      });
    });
  }

  /** How much is done (%) when that is to be told. */
  #next(pool: Pool, kind: (typeof KINDS)[number]["kind"]): number | undefined {
    const key = `${pool.name} ${kind}`;
    const left = kind === "rebalance" && !isRebalanced(pool) ? 0 : pool[`${kind}Bytes`];
    const { most = 0, parts = 0, timed = false } = this.#pieces.get(key) ?? {};
    if (left === 0) {
      this.#pieces.delete(key);
      return undefined;
    }
    // More than ever is a new piece of work, but no new time left.
    if (left >= most) {
      this.#pieces.set(key, { most: left, parts: 0, timed });
      return undefined;
    }
    const done = Math.floor((PARTS * (most - left)) / most);
    const isTimed = pool[`${kind}SecondsLeft`] !== null;
    if (done <= parts && (timed || !isTimed)) return undefined;
    this.#pieces.set(key, { most, parts: Math.max(parts, done), timed: timed || isTimed });
    return Math.floor((100 * (most - left)) / most);
  }
}
