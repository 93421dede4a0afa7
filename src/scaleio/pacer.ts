import { setTimeout as pause } from "node:timers/promises";
import { Lanes } from "../lib/lanes.ts";
import { CHUNK_BYTES } from "./model.ts";
import { type AppLoad, lanesOf, Throttle, type ThrottlePolicy } from "./pool/throttle.ts";
import type { EngineStatus } from "./sdc/session.ts";

/** How often it is looked what applications do (ms). */
const LOOK_MS = 250;

export interface PacerOptions {
  /** For chunks with a single good copy, and for those that have two. */
  readonly policies: { readonly rebuild: ThrottlePolicy; readonly rebalance: ThrottlePolicy };
  /** Requests and bytes of all applications so far. */
  readonly traffic: () => { readonly requests: number; readonly bytes: number };
  /** How many devices the pool has. */
  readonly devices: () => number;
  readonly signal: AbortSignal;
}

/** Whatever an engine is told to copy, attached or not, it is told here: at the pace of the pool's policies. */
export class Pacer {
  readonly #options: PacerOptions;
  readonly #kinds;
  #seen: { readonly at: number; readonly requests: number; readonly bytes: number };
  #load: AppLoad = { iops: 0, kbps: 0 };

  constructor(options: PacerOptions) {
    const { rebuild, rebalance } = options.policies;
    const kind = (policy: ThrottlePolicy) => ({ policy, throttle: new Throttle(), lanes: new Lanes(lanesOf(policy)) });
    this.#options = options;
    this.#seen = { at: Date.now(), ...options.traffic() };
    this.#kinds = { rebuild: kind(rebuild), rebalance: kind(rebalance) };
  }

  /** Has an engine make some chunks good when it is its turn, and rests; answers what the engine says. Throws what it throws. */
  step(before: EngineStatus, work: (chunks: number) => Promise<EngineStatus>): Promise<EngineStatus> {
    const { policy, throttle, lanes } = this.#kinds[before.degradedChunks > 0 ? "rebuild" : "rebalance"];
    return lanes.run(async () => {
      const began = Date.now();
      const pace = throttle.pace(policy, this.#look(began), this.#options.devices(), began);
      const after = await work(pace.chunks);
      const rest = pace.rest(Date.now() - began, (after.worked ?? 0) * CHUNK_BYTES);
      await pause(rest, undefined, { signal: this.#options.signal }).catch(() => undefined);
      return after;
    });
  }

  #look(now: number): AppLoad {
    const { at, requests, bytes } = this.#seen;
    if (now - at < LOOK_MS) return this.#load;
    const seen = { at: now, ...this.#options.traffic() };
    const perDeviceSecond = ((now - at) / 1000) * Math.max(1, this.#options.devices());
    // What went with a device that is gone is not known.
    const rate = (amount: number) => Math.max(0, amount) / perDeviceSecond;
    this.#load = { iops: rate(seen.requests - requests), kbps: rate((seen.bytes - bytes) / 1024) };
    this.#seen = seen;
    return this.#load;
  }
}
