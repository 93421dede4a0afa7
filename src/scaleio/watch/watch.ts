import { type ClusterStatus, WORK_KINDS, type WorkKind } from "../model.ts";
import { changesBetween } from "./changes.ts";
import type { EventLog } from "./event-log.ts";
import { Pace } from "./pace.ts";
import { Progress } from "./progress.ts";

/** How often it looks when nobody says that there is something to see; less often where a look takes long. */
const LOOK_MS = 1000;
const SHARE = 20;
/** When somebody does, and with thousands of volumes: so many times as long as a look takes it leaves to those who make changes. */
const BUSY_SHARE = 4;
/** A look that is shorter (ms) is in nobody's way. */
const SHORT_MS = 25;

/** Looks at the cluster again and again, tells the event log what has changed, and measures how fast work goes. */
export class Watch {
  readonly #look: () => Promise<ClusterStatus>;
  readonly #events: EventLog;
  readonly #log: (message: string) => void;
  #last: ClusterStatus | undefined;
  readonly #paces = new Map(WORK_KINDS.map((kind) => [kind, new Pace()]));
  readonly #progress = new Progress();
  #looking: Promise<void> | undefined;
  #again = false;
  /** By performance.now(). */
  #notBefore = 0;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(look: () => Promise<ClusterStatus>, events: EventLog, log: (message: string) => void) {
    this.#look = look;
    this.#events = events;
    this.#log = log;
  }

  start(): void {
    this.look();
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#looking;
    this.#events.close();
  }

  /** Raw bytes that thin volumes took when it looked last; it has looked at least once. */
  async thinBytes(): Promise<number> {
    if (this.#last === undefined) await this.#looking;
    return this.#last?.pools.reduce((sum, pool) => sum + pool.thinBytes, 0) ?? 0;
  }

  /** There may be something to see. Returns at once. */
  look(): void {
    if (this.#closed) return;
    this.#again = this.#looking !== undefined;
    if (this.#again) return;
    const began = performance.now();
    if (began < this.#notBefore) {
      this.#later(this.#notBefore - began);
      return;
    }
    this.#looking = this.#compare().finally(() => {
      this.#looking = undefined;
      const now = performance.now();
      const took = now - began;
      this.#notBefore = took < SHORT_MS ? now : now + BUSY_SHARE * took;
      if (this.#again) this.look();
      else this.#later(Math.max(LOOK_MS, SHARE * took));
    });
  }

  #later(ms: number): void {
    clearTimeout(this.#timer);
    if (!this.#closed) this.#timer = setTimeout(() => this.look(), ms);
  }

  /** How long so much work will take at the pace of the last seconds; null when there is none or no pace is known yet. */
  secondsLeft(kind: WorkKind, left: number): number | null {
    return this.#paces.get(kind)?.secondsLeft(left) ?? null;
  }

  async #compare(): Promise<void> {
    try {
      const status = await this.#look();
      const before = this.#last;
      this.#last = status;
      for (const [kind, pace] of this.#paces)
        pace.note(
          Date.now(),
          status.pools.reduce((sum, pool) => sum + pool[`${kind}Bytes`], 0),
        );
      const progress = this.#progress.note(status);
      if (before === undefined) return;
      for (const { name, severity, text } of [...changesBetween(before, status), ...progress])
        this.#events.emit(name, severity, text);
    } catch (error) {
      this.#log(`the watch: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}
