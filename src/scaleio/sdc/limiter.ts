/** Limits of a mapping (spec/scaleio.md 1.6); 0: none. */
export interface Limits {
  readonly iops: number;
  readonly bytesPerSecond: number;
}

/**
 * What was not used in this time is lost: a volume that was idle gets a twentieth of a second's worth at once, no more. An engine that
 * had to wait for a processor so long catches up.
 */
const CREDIT_MS = 50;

const asleep = new Int32Array(new SharedArrayBuffer(4));

/**
 * Holds requests back to the limits of a volume: each request takes its share of a second, and the next one waits until that is
 * over. Requests are served one after the other anyway, so waiting in the engine's thread is waiting in the queue.
 */
export class Limiter {
  readonly #msPerRequest: number;
  readonly #msPerByte: number;
  readonly #now: () => number;
  readonly #sleep: (ms: number) => void;
  /** When the requests so far are paid for (ms). */
  #paidUntil = Number.NEGATIVE_INFINITY;

  constructor({ iops, bytesPerSecond }: Limits, now = () => performance.now(), sleep = sleepFor) {
    this.#msPerRequest = iops > 0 ? 1000 / iops : 0;
    this.#msPerByte = bytesPerSecond > 0 ? 1000 / bytesPerSecond : 0;
    this.#now = now;
    this.#sleep = sleep;
  }

  /** Returns when a request of so many bytes may be served. */
  admit(bytes: number): void {
    const now = this.#now();
    const begins = Math.max(this.#paidUntil, now - CREDIT_MS);
    this.#paidUntil = begins + Math.max(this.#msPerRequest, bytes * this.#msPerByte);
    if (begins > now) this.#sleep(begins - now);
  }
}

function sleepFor(ms: number): void {
  Atomics.wait(asleep, 0, 0, ms);
}
