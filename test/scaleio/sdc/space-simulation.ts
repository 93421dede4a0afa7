import { BlockStore } from "../../../src/scaleio/sdc/block-store.ts";
import { Intent } from "../../../src/scaleio/sdc/intent.ts";
import { createLedger } from "../../../src/scaleio/sdc/ledger.ts";
import type { Session } from "../../../src/scaleio/sdc/session.ts";
import { randomOf } from "../../helpers/random.ts";
import { SimulatedDisk } from "./simulation/disk.ts";

const MIB = 1024 * 1024;
const CHUNKS = 6;
const DEVICES = 4;
const PAGE = 512;
/** Discards are made of whole ones of these; so are copies that are made good. */
const PIECE = 64 * 1024;
const PER_PIECE = PIECE / PAGE;

type State = Session["devices"][number]["state"];
const file = (device: number) => `/sds/${device}/l.vol`;

/**
 * One seeded life of a thin volume whose devices become full, one at a time, and have space again. What lies on the devices is what was
 * written and not discarded, twice, and nothing more; a device that is full is reported as failed, and costs no data (design.md,
 * invariant 8). Throws when that is not so.
 */
export class Simulation {
  readonly #random: () => number;
  readonly #disk: SimulatedDisk;
  readonly #states: State[] = Array.from({ length: DEVICES }, () => "up");
  readonly #store: BlockStore;
  /** What each page was written with last; 0: it is a hole. */
  readonly #pages = new Uint32Array((CHUNKS * MIB) / PAGE);
  /** Pieces that were ever written to. */
  readonly #ever = new Uint8Array((CHUNKS * MIB) / PIECE);
  #full = -1;
  #tag = 0;
  #version = 1;

  constructor(readonly seed: number) {
    this.#random = randomOf(seed);
    this.#disk = new SimulatedDisk(this.#random);
    createLedger(this.#disk, "/rec", "l", CHUNKS, 1);
    Intent.create(this.#disk, "/rec");
    for (let device = 0; device < DEVICES; device++) {
      this.#disk.labels.add(`/sds/${device}/device.json`);
      this.#disk.close(this.#disk.open(file(device), { create: true }));
    }
    this.#store = new BlockStore(this.#disk, this.#session(), () => 0);
  }

  run(steps: number): void {
    for (let step = 0; step < steps; step++) {
      const dice = this.#random();
      if (dice < 0.5) this.#write();
      else if (dice < 0.75) this.#discard();
      else if (dice < 0.85) this.#read(0, this.#pages.length);
      else if (dice < 0.9 && this.#full < 0) this.#fill();
      else this.#empty();
    }
    this.#empty();
    this.#read(0, this.#pages.length);
  }

  #write(): void {
    const count = 1 + Math.floor(this.#random() * 300);
    const first = Math.floor(this.#random() * (this.#pages.length - count));
    const tag = ++this.#tag;
    const data = Buffer.alloc(count * PAGE);
    new Uint32Array(data.buffer, data.byteOffset, data.length / 4).fill(tag);
    this.#store.write(data, 0, first * PAGE, data.length);
    this.#pages.fill(tag, first, first + count);
    this.#ever.fill(1, Math.floor(first / PER_PIECE), Math.ceil((first + count) / PER_PIECE));
    this.#checkReported(first, count);
    this.#read(first, count);
  }

  #discard(): void {
    const all = (CHUNKS * MIB) / PIECE;
    const first = Math.floor(this.#random() * all);
    const count = 1 + Math.floor(this.#random() * Math.min(20, all - first));
    this.#store.zero(first * PIECE, count * PIECE);
    this.#pages.fill(0, first * PER_PIECE, (first + count) * PER_PIECE);
    this.#read(first * PER_PIECE, count * PER_PIECE);
    if (this.#full < 0) this.#checkSpace(this.#pieces());
  }

  #read(first: number, count: number): void {
    const data = Buffer.alloc(count * PAGE);
    this.#store.read(data, 0, first * PAGE, data.length);
    for (let page = 0; page < count; page++)
      if (data.readUInt32LE(page * PAGE) !== this.#pages[first + page]) throw new Error(`page ${first + page} is lost`);
  }

  /** A write that a full device should have taken has been acknowledged: the device is known to have failed. */
  #checkReported(first: number, count: number): void {
    if (this.#full < 0) return;
    for (
      let chunk = Math.floor((first * PAGE) / MIB);
      chunk <= Math.floor(((first + count - 1) * PAGE) / MIB);
      chunk++
    ) {
      if (!this.#devicesOf(chunk).includes(this.#full)) continue;
      if (!this.#store.status().failedDevices.some(({ name }) => name === String(this.#full)))
        throw new Error(`device ${this.#full} is full, and nobody is told`);
    }
  }

  /** @param pieces which may take space, twice */
  #checkSpace(pieces: readonly boolean[]): void {
    const written = pieces.filter(Boolean).length * PIECE;
    let held = 0;
    for (let device = 0; device < DEVICES; device++) {
      const fd = this.#disk.open(file(device));
      held += this.#disk.allocated(fd);
      this.#disk.close(fd);
    }
    if (held > 2 * written) throw new Error(`${held} bytes are held for ${written} that were written`);
  }

  /** Which pieces of the volume hold something. */
  #pieces(): boolean[] {
    return Array.from({ length: (CHUNKS * MIB) / PIECE }, (_, piece) =>
      this.#pages.subarray(piece * PER_PIECE, (piece + 1) * PER_PIECE).some((tag) => tag !== 0),
    );
  }

  #fill(): void {
    this.#full = Math.floor(this.#random() * DEVICES);
    this.#disk.brokenWrites.add(`/sds/${this.#full}/`);
  }

  /** There is space again: the device is taken for failed and then for well, and gets what it has missed. */
  #empty(): void {
    if (this.#full < 0) return;
    this.#disk.repair(`/sds/${this.#full}/`);
    for (const state of ["failed", "up"] as const) {
      this.#states[this.#full] = state;
      this.#version++;
      this.#store.reload(this.#session());
    }
    while (this.#store.work(64) > 0);
    this.#full = -1;
    if (this.#store.status().staleCopies > 0) throw new Error("copies stay stale with all devices there");
    // What was discarded without it is zeros there, which the next trim gives back.
    this.#checkSpace([...this.#ever].map(Boolean));
    for (const [piece, holds] of this.#pieces().entries()) if (!holds) this.#store.zero(piece * PIECE, PIECE);
    this.#checkSpace(this.#pieces());
  }

  #devicesOf(chunk: number): number[] {
    return [chunk % DEVICES, (chunk + 1) % DEVICES];
  }

  #session(): Session {
    return {
      ...{ format: 1, volumeId: "l", layerId: "l", sizeBytes: CHUNKS * MIB, mapVersion: this.#version, firstGroup: 0 },
      devices: this.#states.map((state, device) => ({ name: String(device), file: file(device), state })),
      groups: Array.from({ length: CHUNKS }, (_, chunk) => [...this.#devicesOf(chunk), -1, 0]).flat(),
      ...{ recordDir: "/rec", lower: [], absorb: 0, giveUp: true, checksum: false },
      limits: { iops: 0, bytesPerSecond: 0 },
    };
  }
}
