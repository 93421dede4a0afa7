import type { Device, Id, Sds, SystemState } from "./model.ts";

/** Keep-alives are counted in ticks of this many ms (spec/scaleio.md 1.7). */
const TICK_MS = 100;
/** Missed for so many, an SDS is decoupled; answered for so many, it is back. */
const ENOUGH_TICKS = 20;
/** Each device is asked once in so many ticks: with 1,024 of them a tick costs a millisecond or two. */
const EVERY_TICKS = 5;

/** A device of which the map says something else than its keep-alives do. */
export interface Change {
  readonly sds: Sds;
  readonly device: Device;
  /** Why it does not answer; "": it does again. */
  readonly silence: string;
}

export interface KeepAliveOptions {
  readonly state: () => SystemState;
  /** Throws when the device does not answer. Synchronous, and cheap. */
  readonly probe: (sds: Sds, device: Device) => void;
  /** What has gone or come back. It is called again with whatever could not be put on record. */
  readonly changed: (changes: readonly Change[]) => Promise<void>;
}

/**
 * The MDM's keep-alives to the SDSs: finds out that one does not answer any more when nobody asks anything of it, and that one
 * which did not does again. Ticks that do not come, because the daemon stands still, do not count. Nodes that are down by
 * order and devices that have failed are not asked.
 */
export class KeepAlive {
  readonly #options: KeepAliveOptions;
  #timer: NodeJS.Timeout | undefined;
  #ticks = 0;
  /** The tick at which a device was first found to be other than the map says. */
  readonly #differs = new Map<Id, number>();
  #reporting: Promise<void> | undefined;

  constructor(options: KeepAliveOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => this.tick(), TICK_MS);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#reporting;
  }

  /** Asks those whose turn it is. */
  tick(): void {
    this.#ticks++;
    const changes: Change[] = [];
    const { sds } = this.#options.state();
    for (let index = this.#ticks % EVERY_TICKS; index < sds.length; index += EVERY_TICKS) {
      const node = sds[index] as Sds;
      for (const device of node.devices) {
        const silence = node.state === "up" && device.state !== "failed" ? this.#silence(node, device) : undefined;
        if (silence === undefined || (silence === "") === (device.state === "up")) {
          this.#differs.delete(device.id);
          continue;
        }
        const first = this.#differs.get(device.id) ?? this.#ticks;
        this.#differs.set(device.id, first);
        if (this.#ticks - first + EVERY_TICKS >= ENOUGH_TICKS) changes.push({ sds: node, device, silence });
      }
    }
    if (changes.length === 0 || this.#reporting !== undefined) return;
    this.#reporting = this.#options.changed(changes).finally(() => (this.#reporting = undefined));
  }

  #silence(sds: Sds, device: Device): string {
    try {
      this.#options.probe(sds, device);
      return "";
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }
}
