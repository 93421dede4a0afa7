import type { AppDefinition } from "../definition/app.ts";

type Settings = Pick<AppDefinition, "backoffSeconds" | "backoffFactor" | "maxLaunchDelaySeconds">;

/** The delay before an application is launched again after failures (spec/marathon.md 6.7). */
export interface Backoff {
  /** Milliseconds; 0: no failure yet. */
  readonly delayMs: number;
  /** Until when. */
  readonly until: number;
}

export const NO_BACKOFF: Backoff = { delayMs: 0, until: 0 };

/** The next delay. A failure that comes long after the last one, as long as a delay may be at most, is a first one again. */
export function afterFailure({ delayMs, until }: Backoff, settings: Settings, now: number): Backoff {
  const most = settings.maxLaunchDelaySeconds * 1000;
  const quiet = now - (until - delayMs) > most;
  const next = delayMs === 0 || quiet ? settings.backoffSeconds * 1000 : delayMs * settings.backoffFactor;
  return { delayMs: Math.min(most, next), until: now + Math.min(most, next) };
}
