/** How much a rebuild or rebalance may get in the way of applications (spec/scaleio.md 1.7), under the product's names. */
export interface ThrottlePolicy {
  readonly policy: "unlimited" | "limitNumOfConcurrentIos" | "favorAppIos" | "dynamicBwThrottling";
  /**
   * Copies under way at a time, for each device. An engine does one thing at a time, so it is how many engines copy at a time:
   * then no device has more to do for them than that.
   */
  readonly concurrentIos: number;
  /** While applications are at work: what may be copied for each device in a second (KB). */
  readonly bandwidthKbps: number;
  /** dynamicBwThrottling: applications count as at work from this many requests, or KB, a second for each device. */
  readonly appIopsThreshold: number;
  readonly appBandwidthKbpsThreshold: number;
  /** dynamicBwThrottling: and until they have been below that for so long (ms). */
  readonly quietPeriodMs: number;
}

/** What applications have done for each device in a second. */
export interface AppLoad {
  readonly iops: number;
  readonly kbps: number;
}

/** How the next step is taken. */
export interface Pace {
  /** Chunks to copy in it; the volume's I/O waits meanwhile. */
  readonly chunks: number;
  /** How long to rest after it (ms), when it took so long for so many bytes. */
  readonly rest: (tookMs: number, bytes: number) => number;
}

const FULL_SPEED_CHUNKS = 64;
/** Less than a tenth of a second on a usual disk: an application may come. */
const IDLE_CHUNKS = 16;
/** Some tens of milliseconds. */
const STEP_CHUNKS = 8;
const GENTLE_CHUNKS = 2;
/** While it copies an engine serves nobody: so much longer (with one copy at a time) it then does nothing else. */
const TURNS = 3;

/** How many engines may copy at a time. */
export const lanesOf = ({ policy, concurrentIos }: ThrottlePolicy): number =>
  policy === "unlimited" ? Number.POSITIVE_INFINITY : concurrentIos;

/** Says when applications were last at work, and how fast each of the engines that copy is to do it. */
export class Throttle {
  #busyUntil = 0;

  /** @param now milliseconds */
  pace(policy: ThrottlePolicy, load: AppLoad, devices: number, now: number): Pace {
    if (policy.policy === "unlimited") return { chunks: FULL_SPEED_CHUNKS, rest: () => 0 };
    if (this.#favoursApplications(policy, load, now)) {
      const bytesPerMs = (policy.bandwidthKbps * 1024 * devices) / 1000 / policy.concurrentIos;
      return { chunks: GENTLE_CHUNKS, rest: (tookMs, bytes) => Math.max(tookMs, bytes / bytesPerMs - tookMs) };
    }
    if (load.iops === 0) return { chunks: IDLE_CHUNKS, rest: () => 0 };
    // Each copy under way takes its turn with the applications.
    return { chunks: STEP_CHUNKS, rest: (tookMs) => (TURNS * tookMs) / policy.concurrentIos };
  }

  #favoursApplications({ policy, ...limits }: ThrottlePolicy, { iops, kbps }: AppLoad, now: number): boolean {
    if (policy === "favorAppIos") return iops > 0;
    if (policy !== "dynamicBwThrottling") return false;
    if (iops >= limits.appIopsThreshold || kbps >= limits.appBandwidthKbpsThreshold)
      this.#busyUntil = now + limits.quietPeriodMs;
    return now < this.#busyUntil;
  }
}
