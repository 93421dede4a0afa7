import type { UpgradeStrategy } from "../definition/app.ts";

/** Instances of an application while it goes from old ones to new ones. */
export interface Census {
  /** How many there shall be. */
  readonly wanted: number;
  /** Old ones: those that are ready, and all. */
  readonly oldReady: number;
  readonly old: number;
  /** New ones: those that are ready, and all, also those that wait for an offer. */
  readonly newReady: number;
  readonly fresh: number;
}

/**
 * How many old instances may be killed and new ones started now (spec/marathon.md 6.4). keep is what must stay ready; the cap
 * is what may be there at once, and is one more where it would leave no room to move.
 */
export function upgradeSteps(census: Census, strategy: UpgradeStrategy): { kill: number; start: number } {
  const { wanted, oldReady, old, newReady, fresh } = census;
  const keep = Math.ceil(wanted * strategy.minimumHealthCapacity);
  let cap = Math.floor(wanted * (1 + strategy.maximumOverCapacity));
  if (cap === keep) cap++;
  const surplus = Math.max(0, old - wanted);
  const spare = Math.max(0, oldReady + newReady - keep);
  // New ones that are ready take the place of as many old ones.
  const kill = Math.min(old, Math.max(surplus, Math.min(spare, old)));
  const start = Math.max(0, Math.min(wanted - fresh, cap - old - fresh));
  return { kill, start };
}
