import path from "node:path";
import { allLayers, type Layer, ownLayer } from "../../../../src/scaleio/layers.ts";
import type { Group, Id, LayerRef, SystemState, VolumeRecord } from "../../../../src/scaleio/model.ts";
import { recordDir } from "../../../../src/scaleio/sdc/books.ts";
import { Intent } from "../../../../src/scaleio/sdc/intent.ts";
import { ALL_SLOTS, BIT, INHERITED, Layout, SLOTS } from "../../../../src/scaleio/sdc/layout.ts";
import { createLedger, Ledger } from "../../../../src/scaleio/sdc/ledger.ts";
import type { Session } from "../../../../src/scaleio/sdc/session.ts";
import { sessionOf } from "../../../../src/scaleio/sessions.ts";
import type { SimulatedDisk } from "./disk.ts";
import { MOST_CHUNKS, type SimulatedPool } from "./pool.ts";
import { MIB } from "./units.ts";

const STATE_DIR = "/";
const recordsOf = (id: Id) => recordDir(STATE_DIR, id);

/** The layers of all volumes: their records, their files, and what an engine is told of them. Nothing here is killed. */
export class SimulatedLayers {
  constructor(
    readonly disk: SimulatedDisk,
    readonly pool: SimulatedPool,
    readonly state: () => SystemState,
  ) {}

  /** `inherited`: so many chunks show through from the layer below. */
  create({ id, sizeBytes }: LayerRef, inherited: number): void {
    createLedger(this.disk, recordsOf(id), id, sizeBytes / MIB, this.pool.version);
    const ledger = new Ledger(this.disk, recordsOf(id), id, sizeBytes / MIB);
    const layout = new Layout({ sizeBytes, firstGroup: 0 }, this.pool.groups.flat());
    const isUp = (device: number) => this.pool.isUp(device);
    for (let chunk = 0; chunk < layout.chunks; chunk++)
      ledger.states[chunk] = layout.untouched(chunk, isUp) | (chunk < inherited ? INHERITED : 0);
    ledger.persist(0, sizeBytes / MIB - 1);
    ledger.close();
    Intent.create(this.disk, recordsOf(id));
    this.disk.syncDirectory(recordsOf(id));
    for (const device of this.pool.present) {
      if (!isUp(device)) continue;
      const file = this.pool.file(device, id);
      this.disk.close(this.disk.open(file, { create: true }));
      if (this.state().pool.checksum === true) this.disk.close(this.disk.open(`${file}.sum`, { create: true }));
      this.disk.syncDirectory(path.dirname(file));
    }
  }

  /** The states of its chunks, as the ledger on disk has them. */
  ledger({ id, sizeBytes }: LayerRef): Uint8Array {
    return this.disk.undisturbed(() => {
      const ledger = new Ledger(this.disk, recordsOf(id), id, sizeBytes / MIB, { mend: false });
      ledger.close();
      return ledger.states;
    });
  }

  /** Offsets of the chunks that the layer's write-intent record has. */
  activeRegions({ id, sizeBytes }: LayerRef): number[] {
    return this.disk.undisturbed(() => {
      const intent = new Intent(this.disk, recordsOf(id), sizeBytes);
      intent.close();
      const chunks = Array.from({ length: sizeBytes / MIB }, (_, chunk) => chunk * MIB);
      return chunks.filter((offset) => intent.isActive(offset));
    });
  }

  /** By id. */
  all(): ReadonlyMap<string, Layer> {
    return allLayers(this.state().volumes.values());
  }

  /** Those that nobody writes to. */
  frozen(): Layer[] {
    return [...this.all().values()].filter(({ owner }) => owner === undefined);
  }

  sessionOf({ record }: { readonly record: VolumeRecord }): Session {
    return this.session(this.all().get(ownLayer(record).id) as Layer);
  }

  session(layer: Layer): Session {
    return sessionOf(this.state(), STATE_DIR, layer, { faults: [], on: () => [] });
  }

  /** Removes those of the layers that nobody needs. */
  sweep(ids: readonly string[]): void {
    const needed = this.all();
    for (const id of ids) {
      if (needed.has(id)) continue;
      for (const device of this.pool.present) {
        this.disk.remove(this.pool.file(device, id));
        this.disk.remove(`${this.pool.file(device, id)}.sum`);
      }
      for (const name of ["ledger.1", "ledger.2", "intent"]) this.disk.remove(`${recordsOf(id)}/${name}`);
    }
  }

  /**
   * Whether some chunk of these layers has no good copy on a device that serves; in a range of chunks. With a session: that
   * whoever goes by it knows to serve.
   */
  isOutOfReach(layers: readonly LayerRef[], first = 0, last = MOST_CHUNKS - 1, by?: Session): boolean {
    const isKnown = (device: number) => {
      const known = by?.devices[device];
      return by === undefined || (known?.state === "up" && known.name === this.pool.name(device));
    };
    return layers.some((layer) => {
      const states = this.ledger(layer);
      for (let chunk = first; chunk <= Math.min(last, states.length - 1); chunk++) {
        const group = this.pool.groups[chunk] as Group;
        const served = SLOTS.some(
          (slot) =>
            group[slot] >= 0 &&
            ((states[chunk] as number) & BIT[slot]) === 0 &&
            this.pool.serves(group[slot]) &&
            isKnown(group[slot]),
        );
        if (!served) return true;
      }
      return false;
    });
  }

  /** Per group, which slots are stale in some layer. */
  staleSlots(): Uint8Array {
    return this.disk.undisturbed(() => {
      const all = new Uint8Array(MOST_CHUNKS);
      for (const layer of this.all().values()) {
        const states = this.ledger(layer);
        for (let chunk = 0; chunk < states.length; chunk++)
          all[chunk] = (all[chunk] as number) | ((states[chunk] as number) & ALL_SLOTS);
      }
      return all;
    });
  }
}
