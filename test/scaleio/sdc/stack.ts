import { BlockStore } from "../../../src/scaleio/sdc/block-store.ts";
import { Intent } from "../../../src/scaleio/sdc/intent.ts";
import { INHERITED } from "../../../src/scaleio/sdc/layout.ts";
import { createLedger, Ledger } from "../../../src/scaleio/sdc/ledger.ts";
import type { Session } from "../../../src/scaleio/sdc/session.ts";
import { SimulatedDisk } from "./simulation/disk.ts";

export const MIB = 1024 * 1024;
/** Two regions of the write-intent record. */
export const CHUNKS = 8;
type State = Session["devices"][number]["state"];

/** A volume with a copy of every chunk on each of two devices, and any number of layers. */
export class Stack {
  readonly disk: SimulatedDisk;
  readonly #checksum: boolean;
  #mapVersion = 1;
  #states: readonly State[] = ["up", "up"];
  /** Where the copies are to be (Session). */
  groups: readonly number[] = [0, 1, -1, 0];
  /** The volume's own layer first. */
  #layers: readonly string[] = [];
  absorb = 0;
  now = 0;
  store!: BlockStore;

  /** `fate`: of what a failed sync is about (disk.ts). */
  constructor(checksum: boolean, states: readonly State[] = ["up", "up"], fate = 0.9) {
    this.disk = new SimulatedDisk(() => fate);
    this.#checksum = checksum;
    this.#states = states;
    for (const device of [0, 1, 2]) this.disk.labels.add(`/sds/${device}/device.json`);
    this.addLayer("low");
    this.store = this.opened();
  }

  /** On top of those that there are. */
  addLayer(id: string): void {
    const { disk } = this;
    createLedger(disk, `/rec/${id}`, id, CHUNKS, this.#mapVersion);
    Intent.create(disk, `/rec/${id}`);
    const ledger = new Ledger(disk, `/rec/${id}`, id, CHUNKS);
    let state = this.#layers.length > 0 ? INHERITED : 0;
    for (const [device, of] of this.#states.entries()) {
      if (of !== "up") state |= 1 << device;
      else
        for (const name of [`${id}.vol`, `${id}.vol.sum`])
          disk.close(disk.open(`/sds/${device}/${name}`, { create: true }));
    }
    for (let chunk = 0; chunk < CHUNKS; chunk++) ledger.states[chunk] = (ledger.states[chunk] as number) | state;
    ledger.persist(0, CHUNKS - 1);
    ledger.close();
    for (const directory of [`/rec/${id}`, "/sds/0", "/sds/1"]) disk.syncDirectory(directory);
    this.#layers = [id, ...this.#layers];
  }

  /** In order: the layer is whole and clean, and the volume goes on in a new one. */
  freeze(id: string): void {
    this.store.seal();
    this.addLayer(id);
    this.store = this.opened();
  }

  /** An engine for the volume, or for one of the layers beneath: the process that repairs those. */
  opened(layer = this.#layers[0] as string): BlockStore {
    return new BlockStore(this.disk, this.session(layer), () => this.now);
  }

  session(id = this.#layers[0] as string): Session {
    const filesOf = (layer: string) => this.#states.map((_, device) => `/sds/${device}/${layer}.vol`);
    const lower = this.#layers.slice(this.#layers.indexOf(id) + 1);
    return {
      ...{ format: 1, volumeId: id, layerId: id, sizeBytes: CHUNKS * MIB, mapVersion: this.#mapVersion },
      devices: this.#states.map((state, device) => ({ name: `${device}`, file: filesOf(id)[device] as string, state })),
      ...{ groups: this.groups, firstGroup: 0, recordDir: `/rec/${id}`, absorb: this.absorb, giveUp: true },
      lower: lower.map((below) => ({
        id: below,
        sizeBytes: CHUNKS * MIB,
        files: filesOf(below),
        recordDir: `/rec/${below}`,
      })),
      ...{ checksum: this.#checksum, limits: { iops: 0, bytesPerSecond: 0 } },
    };
  }

  /** The map says so from now on. */
  become(...states: readonly State[]): void {
    this.#states = states;
    this.#mapVersion++;
    this.store.reload(this.session());
  }

  /** The engine is killed; another one begins, and the map says so. */
  kill(...states: readonly State[]): void {
    this.disk.crash();
    this.#begin(states);
  }

  powerLoss(...states: readonly State[]): void {
    this.disk.powerLoss();
    this.#begin(states);
  }

  #begin(states: readonly State[]): void {
    this.#states = states;
    this.#mapVersion++;
    this.store = this.opened();
  }

  /** As the devices have it. */
  raw(file: string, offset: number): number {
    const byte = Buffer.alloc(1);
    this.disk.peek(file, byte, offset);
    return byte[0] as number;
  }

  /** No file below the path can be synced as a whole, from now on until what is answered is called. */
  breakSyncs(path: string): () => void {
    const { disk } = this;
    const { datasync } = disk;
    disk.datasync = (fd) => {
      disk.brokenSyncs.add(path);
      try {
        datasync.call(disk, fd);
      } finally {
        disk.brokenSyncs.delete(path);
      }
    };
    return () => {
      disk.datasync = datasync;
    };
  }

  work(): void {
    while (this.store.work(CHUNKS) > 0);
  }

  fill(byte: number, offset: number, length: number): void {
    this.store.write(Buffer.alloc(length, byte), 0, offset, length);
  }

  /** Whether the range reads as this byte. */
  holds(byte: number, offset: number, length: number): boolean {
    const read = Buffer.alloc(length, byte + 1);
    this.store.read(read, 0, offset, length);
    return read.every((one) => one === byte);
  }
}
