import { setTimeout as pause } from "node:timers/promises";
import { allLayers, familyOf, type Layer, layersOf } from "./layers.ts";
import type { Mdm } from "./mdm/mdm.ts";
import { CHUNK_BYTES, type VolumeRecord } from "./model.ts";
import type { Repairer } from "./repairer.ts";
import type { Sdc } from "./sdc/sdc.ts";
import type { EngineStatus, Session } from "./sdc/session.ts";
import { unitOf } from "./sessions.ts";

/** Chunks in one order to an engine: that volume's I/O waits meanwhile. */
const STEP_CHUNKS = 8;
/** How long the background scanner rests when there is nothing to look at (ms). */
const REST_MS = 2000;

export interface ScannerOptions {
  readonly mdm: Mdm;
  readonly sdc: Sdc;
  readonly repairer: Pick<Repairer, "without">;
  readonly session: (layer: Layer) => Session;
  /** What the background scanner may read of every device in a second (bytes); 0: it does not run. */
  readonly bytesPerSecond: number;
  readonly log: (message: string) => void;
}

/** What a scan has come upon. */
export interface ScanResult {
  /** Chunks that were looked at, all their copies. */
  readonly chunks: number;
  /** Blocks that did not hold what had been written and have been put right. */
  readonly fixed: number;
}

/**
 * Looks for silent corruption: copies whose content is not what was written (spec/scaleio.md 1.9, background scanner). With
 * checksums a bad block is overwritten from the other copy; without, copies that differ are made as the first one is.
 */
export class Scanner {
  readonly #options: ScannerOptions;
  readonly #stop = new AbortController();
  #loop: Promise<void> | undefined;

  constructor(options: ScannerOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#options.bytesPerSecond > 0) this.#loop = this.#run();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
  }

  /** Looks at all of a volume, mounted or not, as fast as it goes. Throws unavailable, timed_out. */
  async scan(volume: VolumeRecord): Promise<ScanResult> {
    const layers = allLayers(familyOf(this.#options.mdm.state.volumes.values(), volume));
    const result = { chunks: 0, fixed: 0 };
    for (const { id } of layersOf(volume)) {
      const layer = layers.get(id) as Layer;
      const attached = layer.owner !== undefined && (await this.#options.sdc.device(layer.owner.id)) !== undefined;
      result.fixed += attached ? await this.#scanAttached(volume) : await this.#scanAlone(layer);
      result.chunks += layer.sizeBytes / CHUNK_BYTES;
    }
    return result;
  }

  async #scanAttached({ id, sizeBytes }: VolumeRecord): Promise<number> {
    const before = this.#options.sdc.status(id);
    let after: EngineStatus | undefined;
    for (let first = 0; first < sizeBytes / CHUNK_BYTES; first += STEP_CHUNKS) {
      const began = Date.now();
      after = await this.#options.sdc.scan(id, first, STEP_CHUNKS);
      // Half of the engine's time stays the application's.
      await pause(Date.now() - began);
    }
    // An engine that took over meanwhile counts from nothing.
    return Math.max(0, (after?.fixedBlocks ?? 0) - (before?.fixedBlocks ?? 0));
  }

  #scanAlone(layer: Layer): Promise<number> {
    return this.#options.repairer.without(unitOf(layer), async () => {
      const session = { ...this.#options.session(layer), scan: true };
      const status = await this.#options.sdc.repair(session, this.#stop.signal);
      return status?.fixedBlocks ?? 0;
    });
  }

  async #run(): Promise<void> {
    const { mdm, sdc, bytesPerSecond } = this.#options;
    const places = new Map<string, number>();
    while (!this.#stop.signal.aborted) {
      const attached =
        mdm.state.pool.checksum === true ? sdc.known().flatMap((id) => mdm.state.volumes.get(id) ?? []) : [];
      const devices = mdm.state.sds.flatMap((node) => node.devices).length;
      let rest = REST_MS;
      for (const { id, sizeBytes } of attached) {
        const first = places.get(id) ?? 0;
        try {
          await sdc.scan(id, first, 1);
          rest = (2 * CHUNK_BYTES * 1000) / (devices * bytesPerSecond);
          places.set(id, (first + 1) % (sizeBytes / CHUNK_BYTES));
          await pause(rest, undefined, { signal: this.#stop.signal }).catch(() => undefined);
        } catch {
          // It is being taken away; whatever else is wrong, the repairer says.
        }
      }
      if (rest === REST_MS) await pause(REST_MS, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    }
  }
}
