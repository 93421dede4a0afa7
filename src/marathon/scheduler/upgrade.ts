import type { UpgradeStrategy } from "../definition/app.ts";

/** Instances of an application, those that somebody has asked to end apart. */
export interface Census {
  /** How many there shall be. */
  readonly wanted: number;
  /** Of former definitions: all, and those that are well. */
  readonly old: number;
  readonly oldReady: number;
  /** Of the present one: all, also those that wait for an offer, and those that a deployment may count on. */
  readonly fresh: number;
  readonly newReady: number;
  /** Those that are ending, of former definitions and of the present one. */
  readonly oldLeaving: number;
  readonly newLeaving: number;
}

/**
 * How many old instances may be killed and new ones started now (spec/marathon.md 6.4). keep is what must stay well; the cap
 * is what may be there at once, and is one more where it would leave no room to move.
 */
export function upgradeSteps(census: Census, strategy: UpgradeStrategy): { kill: number; start: number } {
  const { wanted, oldReady, old, newReady, fresh, oldLeaving, newLeaving } = census;
  const { minimumHealthCapacity, maximumOverCapacity } = strategy;
  const keep = Math.ceil(wanted * minimumHealthCapacity);
  let cap = Math.floor(wanted * (1 + maximumOverCapacity));
  if (cap === keep) cap++;
  // New ones that are ready take the place of as many old ones.
  const surplus = Math.max(0, old + newReady - wanted);
  const spare = Math.max(0, oldReady + newReady - keep);
  const missing = Math.max(0, wanted - fresh);
  // What is ending has its resources, and perhaps its volume, for a moment yet: kill first means wait for it.
  const killFirst = minimumHealthCapacity === 0 && maximumOverCapacity === 0;
  const there = old + oldLeaving + (killFirst ? newLeaving : 0);
  const start = there === 0 ? missing : Math.max(0, Math.min(missing, cap - there - fresh));
  return { kill: Math.min(old, Math.max(surplus, spare)), start };
}
