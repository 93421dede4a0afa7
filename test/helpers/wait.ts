import { setTimeout as pause } from "node:timers/promises";

/** What is waited for and how long. */
export interface WaitOptions {
  /** What is waited for, as it completes "waited 5000 ms for ..." */
  readonly what: string;
  /** Milliseconds until the wait fails; 10 s unless told. */
  readonly deadline?: number;
  /** Milliseconds between two looks. */
  readonly every?: number;
}

type Truthy<T> = Exclude<T, false | 0 | "" | null | undefined>;

/**
 * Looks again and again until the condition answers something truthy, and returns that. A condition that throws is one
 * that does not hold yet. The error of a wait in vain names what was waited for and carries the last error as its cause.
 */
export async function waitFor<T>(condition: () => T | Promise<T>, options: WaitOptions): Promise<Truthy<T>> {
  const { what, deadline = 10_000, every = 20 } = options;
  const end = performance.now() + deadline;
  for (;;) {
    let last: unknown;
    try {
      const value = await condition();
      if (value) return value as Truthy<T>;
    } catch (error) {
      last = error;
    }
    if (performance.now() > end) {
      const why = last instanceof Error ? `: ${last.message}` : "";
      throw new Error(`waited ${deadline} ms for ${what}${why}`, { cause: last });
    }
    await pause(every);
  }
}
