import fs from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { Slices } from "../lib/slices.ts";
import { allLayers, familyOf, type Layer, layersOf } from "./layers.ts";
import type { Mdm } from "./mdm/mdm.ts";
import { CHUNK_BYTES, type ScanProgress, type VolumeRecord } from "./model.ts";
import type { Repairer } from "./repairer.ts";
import type { Sdc } from "./sdc/sdc.ts";
import type { Session } from "./sdc/session.ts";
import { unitOf } from "./sessions.ts";
import { Pace } from "./watch/pace.ts";

/** Chunks in one order to the engine of a volume in use, whose I/O waits meanwhile. */
const STEP_CHUNKS = 8;
/** And for a layer without an engine: it is worth a process. So many are looked at before it is another layer's turn. */
const ALONE_CHUNKS = 64;
/** How long the background scanner rests when there is nothing to look at (ms). */
const REST_MS = 2000;
/** How long until a layer is looked at again that somebody is attaching or detaching (ms). */
const BUSY_MS = 50;

export interface ScannerOptions {
  readonly mdm: Mdm;
  readonly sdc: Sdc;
  readonly repairer: Pick<Repairer, "scan">;
  readonly session: (layer: Layer) => Session;
  /** What the background scanner may read of every device in a second (bytes); 0: it does not run. */
  readonly bytesPerSecond: number;
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
 * checksums a bad block is overwritten from the other copy; without, copies that differ are made as the first one is. Engines of
 * volumes in use do it between requests; for all other layers the repairer runs one.
 */
export class Scanner {
  readonly #options: ScannerOptions;
  readonly #stop = new AbortController();
  readonly #scans = new Set<Omit<ScanProgress, "secondsLeft"> & { readonly pace: Pace }>();
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

  /** Looks at all of a volume, in use or not, as fast as it goes. Throws unavailable, timed_out. */
  async scan(volume: VolumeRecord): Promise<ScanResult> {
    const all = layersOf(volume).reduce((sum, { sizeBytes }) => sum + sizeBytes / CHUNK_BYTES, 0);
    const scan = { volume: volume.name, chunks: all, done: 0, pace: new Pace() };
    this.#scans.add(scan);
    try {
      return await this.#scanAll(volume, (done) => {
        scan.done = Math.min(done, all);
        scan.pace.note(Date.now(), all - scan.done);
      });
    } finally {
      this.#scans.delete(scan);
    }
  }

  /** The scans that are under way. */
  progress(): readonly ScanProgress[] {
    return [...this.#scans].map(({ pace, ...scan }) => ({
      ...scan,
      secondsLeft: pace.secondsLeft(scan.chunks - scan.done),
    }));
  }

  /** @param tell is called with the number of chunks that have been looked at */
  async #scanAll(volume: VolumeRecord, tell: (done: number) => void): Promise<ScanResult> {
    const result = { chunks: 0, fixed: 0 };
    for (const { id, sizeBytes } of layersOf(volume)) {
      const chunks = sizeBytes / CHUNK_BYTES;
      tell(result.chunks);
      for (let first = 0; first < chunks && !this.#stop.signal.aborted; ) {
        const layer = allLayers(familyOf(this.#options.mdm.state.volumes.values(), volume)).get(id);
        // It has been absorbed meanwhile, by one that was scanned before.
        if (layer === undefined) break;
        const began = Date.now();
        const step = await this.#step(layer, first, STEP_CHUNKS);
        if (step === undefined) {
          await this.#rest(BUSY_MS);
          continue;
        }
        first += step.chunks;
        result.fixed += step.fixed;
        tell(result.chunks + first);
        // Half of an engine's time stays the application's.
        if (step.attached) await this.#rest(Date.now() - began);
      }
      result.chunks += chunks;
    }
    return result;
  }

  /** Looks at some chunks; undefined while the layer is being attached or detached. */
  async #step(layer: Layer, first: number, most: number): Promise<(ScanResult & { attached: boolean }) | undefined> {
    const { sdc, repairer } = this.#options;
    const { owner } = layer;
    if (owner !== undefined && (await sdc.device(owner.id)) !== undefined) {
      const before = sdc.status(owner.id)?.fixedBlocks ?? 0;
      const { fixedBlocks } = await sdc.scan(owner.id, first, most);
      // An engine that took over meanwhile counts from nothing.
      return { chunks: most, fixed: Math.max(0, fixedBlocks - before), attached: true };
    }
    const status = await repairer.scan(unitOf(layer), first, ALONE_CHUNKS);
    return status && { chunks: ALONE_CHUNKS, fixed: status.fixedBlocks, attached: false };
  }

  async #run(): Promise<void> {
    const { mdm, bytesPerSecond } = this.#options;
    let places = new Map<string, number>();
    while (!this.#stop.signal.aborted) {
      const layers =
        mdm.state.pool.checksum === true ? allLayers(mdm.state.volumes.values()) : new Map<string, Layer>();
      places = new Map([...places].filter(([id]) => layers.has(id)));
      const slices = new Slices({ background: true });
      let looked = false;
      for (const layer of layers.values()) {
        await slices.next();
        if (this.#stop.signal.aborted) return;
        if (this.#isBlank(layer)) continue;
        for (let done = 0; done < ALONE_CHUNKS; ) {
          const first = places.get(layer.id) ?? 0;
          // A layer that is being taken away makes it fail; whatever else is wrong, the repairer says.
          const step = await this.#step(layer, first, 1).catch(() => undefined);
          if (step === undefined) break;
          looked = true;
          done += step.chunks;
          places.set(layer.id, first + step.chunks < layer.sizeBytes / CHUNK_BYTES ? first + step.chunks : 0);
          const devices = mdm.state.sds.flatMap((node) => node.devices).length;
          await this.#rest((step.chunks * 2 * CHUNK_BYTES * 1000) / (devices * bytesPerSecond));
        }
      }
      if (!looked) await this.#rest(REST_MS);
    }
  }

  /** Whether nothing was ever written to the layer: not worth a process. */
  #isBlank(layer: Layer): boolean {
    return this.#options
      .session(layer)
      .devices.every(({ file }) => file === "" || !fs.statSync(file, { throwIfNoEntry: false })?.blocks);
  }

  #rest(ms: number): Promise<unknown> {
    return pause(ms, undefined, { signal: this.#stop.signal }).catch(() => undefined);
  }
}
