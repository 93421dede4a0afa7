import type { BlockStore } from "./block-store.ts";
import type { Files } from "./files.ts";
import { Intent } from "./intent.ts";
import type { EngineStatus, LowerLayer, Session } from "./session.ts";

/**
 * Layers that were frozen by an engine which died before it had compared and synced what it had in flight: the engine of the volume
 * above does that when it can. Nobody else works on them then (repairer.ts), and snapshots of them are made only when their
 * records are clean.
 */
export class UnsettledLayers {
  readonly #files: Files;
  readonly #open: (session: Session) => BlockStore;
  /** By id: whether what they took is equal and on disk in all good copies, though their records are not clean (checksums may not be). */
  readonly #layers: Map<string, boolean>;
  /** Layers whose records say that something was lost of which no flush has told. */
  readonly #owing: LowerLayer[] = [];
  /** What settling has shown: devices that failed meanwhile, by layer. */
  failures = 0;
  readonly failed = new Map<string, EngineStatus["failedDevices"]>();

  /** @param open an engine for one of the layers, which leaves those beneath it alone */
  constructor(files: Files, session: Session, open: (session: Session) => BlockStore) {
    this.#files = files;
    this.#open = open;
    this.#layers = new Map(session.lower.map(({ id }) => [id, false]));
  }

  get isEmpty(): boolean {
    return this.#layers.size === 0;
  }

  get areSynced(): boolean {
    for (const isSynced of this.#layers.values()) if (!isSynced) return false;
    return true;
  }

  /** As far as that is possible now. Throws errno errors of the records, and unavailable; what has been done by then stays. */
  settle(session: Session): void {
    this.failed.clear();
    for (const [index, layer] of session.lower.entries()) {
      if (!this.#layers.has(layer.id)) continue;
      if (!this.#isClean(layer)) this.#settleLayer(session, index);
      if (this.#owesFailure(layer)) this.#owing.push(layer);
      if (this.#isClean(layer)) this.#layers.delete(layer.id);
    }
    // Those that are not there any more have been taken over by others.
    const left = new Set(session.lower.map(({ id }) => id));
    for (const id of this.#layers.keys()) if (!left.has(id)) this.#layers.delete(id);
  }

  /** Something was lost of which no flush has told. It is to be on record above before {@link handedOver} is called. */
  get owesFailure(): boolean {
    return this.#owing.length > 0;
  }

  /** The layer above tells of it. */
  handedOver(): void {
    for (const layer of this.#owing.splice(0))
      this.#with(layer, (intent) => {
        intent.owesFailure = false;
        intent.save();
      });
  }

  #isClean(layer: LowerLayer): boolean {
    return this.#with(layer, (intent) => intent.activeRegions().length === 0);
  }

  #owesFailure(layer: LowerLayer): boolean {
    return this.#with(layer, (intent) => intent.owesFailure);
  }

  #with<T>({ recordDir, sizeBytes }: LowerLayer, task: (intent: Intent) => T): T {
    const intent = new Intent(this.#files, recordDir, sizeBytes);
    try {
      return task(intent);
    } finally {
      intent.close();
    }
  }

  #settleLayer(session: Session, index: number): void {
    const { id: layerId, files, ...own } = session.lower[index] as LowerLayer;
    const devices = session.devices.map((device, place) => ({ ...device, file: files[place] as string }));
    const store = this.#open({
      ...{ ...session, ...own, layerId, devices, absorb: 0, frozen: true },
      lower: session.lower.slice(index + 1),
    });
    try {
      store.settleAll();
    } finally {
      this.failures += store.failures;
      // A file that is closed has not failed.
      this.failed.set(layerId, store.status().failedDevices);
      this.#layers.set(layerId, store.close());
    }
  }
}
