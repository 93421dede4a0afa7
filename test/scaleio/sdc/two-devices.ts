import { BlockStore } from "../../../src/scaleio/sdc/block-store.ts";
import { Intent } from "../../../src/scaleio/sdc/intent.ts";
import { createLedger } from "../../../src/scaleio/sdc/ledger.ts";
import type { Session } from "../../../src/scaleio/sdc/session.ts";
import { SimulatedDisk } from "./simulation/disk.ts";

export const MIB = 1024 * 1024;
export const CHUNKS = 8;

/** resting: stopped, and in maintenance. */
type State = Session["devices"][number]["state"] | "resting";

/** A volume with a copy of every chunk on each of two devices, full of ones that are on both disks. There is a third one. */
export class TwoDevices {
  /** What a failed sync was about is gone. */
  readonly disk = new SimulatedDisk(() => 0.9);
  readonly #checksum: boolean;
  #mapVersion = 0;
  /** Where the copies are to be (Session). */
  groups: readonly number[] = [0, 1, -1, 0];
  now = 0;
  /** How much later it is each time that somebody looks (ms). */
  pace = 0;
  store: BlockStore;

  constructor(checksum: boolean) {
    this.#checksum = checksum;
    const { disk } = this;
    createLedger(disk, "/rec", "l", CHUNKS, 1);
    Intent.create(disk, "/rec");
    for (const device of [0, 1, 2]) disk.labels.add(`/sds/${device}/device.json`);
    for (const device of [0, 1])
      for (const name of ["l.vol", "l.vol.sum"]) disk.close(disk.open(`/sds/${device}/${name}`, { create: true }));
    this.store = this.#opened("up", "up");
    this.work();
    this.fill(1, 0, CHUNKS * MIB);
    this.store.flush();
  }

  /** The map says so from now on. */
  become(...states: readonly State[]): void {
    this.store.reload(this.#session(states));
  }

  /** The engine is killed; another one begins, and the map says so. */
  kill(...states: readonly State[]): void {
    this.disk.crash();
    this.store = this.#opened(...states);
  }

  work(): void {
    while (this.store.work(CHUNKS) > 0);
  }

  fill(byte: number, offset: number, length: number): void {
    this.store.write(Buffer.alloc(length, byte), 0, offset, length);
  }

  /** Whether the range reads as this byte. */
  holds(byte: number, offset = 0, length = CHUNKS * MIB): boolean {
    const read = Buffer.alloc(length, byte + 1);
    this.store.read(read, 0, offset, length);
    return read.every((one) => one === byte);
  }

  #opened(...states: readonly State[]): BlockStore {
    return new BlockStore(this.disk, this.#session(states), () => (this.now += this.pace));
  }

  #session(states: readonly State[]): Session {
    const device = (state: State) =>
      state === "resting" ? ({ state: "stopped", resting: true } as const) : { state, resting: false };
    return {
      ...{ format: 1, volumeId: "l", layerId: "l", sizeBytes: CHUNKS * MIB, mapVersion: ++this.#mapVersion },
      devices: states.map((state, index) => ({ name: `${index}`, file: `/sds/${index}/l.vol`, ...device(state) })),
      ...{ groups: this.groups, firstGroup: 0, recordDir: "/rec" },
      ...{ lower: [], absorb: 0, giveUp: true, checksum: this.#checksum, limits: { iops: 0, bytesPerSecond: 0 } },
    };
  }
}

/** A write of twos at the volume's beginning that was going on when the engine was killed has reached the first device only. */
export function torn(): TwoDevices {
  const volume = new TwoDevices(true);
  volume.now += 10_000;
  volume.store.flush();
  volume.fill(1, MIB / 2, 4096);
  const fd = volume.disk.open("/sds/0/l.vol");
  volume.disk.write(fd, Buffer.alloc(4096, 2), 0, 4096, 0);
  return volume;
}
