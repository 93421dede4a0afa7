import fs from "node:fs";
import { nodeFiles } from "../../../src/scaleio/sdc/files.ts";
import { run } from "../../helpers/run.ts";

const [WRITE, FLUSH, ZERO] = [1, 2, 3];
const HEADER_BYTES = 16;
/** What a disk writes as a whole or not at all. */
const SECTOR_BYTES = 512;
/** Where ext4 has its first superblock, in bytes. It reads that before its journal and relies on the disk to write it in one piece. */
const SUPERBLOCK = { from: 1024, to: 2048 };

/** One thing that a volume was asked to do (src/scaleio/sdc/recorder.ts). */
interface Operation {
  readonly op: number;
  readonly offset: number;
  readonly length: number;
  /** Where the data of a write begins in the record. */
  readonly at: number;
  /** Where the next one begins. */
  readonly end: number;
}

/** The record of all that reached a volume, and the states that a power loss could have left. */
export class PowerLoss {
  readonly #fd: number;
  readonly #image: string;
  readonly #random: () => number;
  readonly #operations: Operation[] = [];
  /** Operations that the base image has. */
  #applied = 0;
  readonly #base: string;

  /** @param image where the images are made, of the volume's size: a file name's beginning */
  constructor(record: string, image: string, sizeBytes: number, random: () => number) {
    this.#fd = fs.openSync(record, "r");
    this.#image = image;
    this.#random = random;
    this.#base = `${image}.base`;
    fs.writeFileSync(this.#base, "");
    fs.truncateSync(this.#base, sizeBytes);
    const header = Buffer.alloc(HEADER_BYTES);
    for (let at = 0; fs.readSync(this.#fd, header, 0, HEADER_BYTES, at) === HEADER_BYTES; ) {
      const [op, length, offset] = [header.readUInt32LE(0), header.readUInt32LE(4), header.readDoubleLE(8)];
      const end = at + HEADER_BYTES + (op === WRITE ? length : 0);
      this.#operations.push({ op, offset, length, at: at + HEADER_BYTES, end });
      at = end;
    }
  }

  /** Indexes of the flushes that end when the record is longer than this. */
  flushes(from: number): number[] {
    return this.#operations.flatMap(({ op, end }, index) => (op === FLUSH && end > from ? [index] : []));
  }

  /** How many discards there are from there on. */
  discards(from: number): number {
    return this.#operations.filter(({ op, end }) => op === ZERO && end > from).length;
  }

  /** Where in the record an operation ends: what had been acknowledged when the record was that long, it must hold. */
  endOf(index: number): number {
    return this.#operations[index]?.end ?? 0;
  }

  /**
   * Makes the image of a power loss between this flush and the next one: all that was asked for until this flush, and of what
   * follows anything: a disk may have written it in any order, and the last of it in part. Flushes have to be asked for in order.
   */
  async imageAfter(flush: number): Promise<string> {
    const base = fs.openSync(this.#base, "r+");
    for (; this.#applied <= flush; this.#applied++) this.#apply(base, this.#operations[this.#applied] as Operation);
    fs.closeSync(base);
    // A file of its own: what the kernel does late for a former one must not reach it.
    const file = `${this.#image}.${flush}`;
    const copied = await run("cp", ["--sparse=always", this.#base, file]);
    if (copied.code !== 0) throw new Error(copied.stderr);
    const image = fs.openSync(file, "r+");
    const next = this.#operations.findIndex(({ op }, index) => op === FLUSH && index > flush);
    const survivors = this.#survivors(this.#operations.slice(flush + 1, next < 0 ? undefined : next));
    for (const [index, operation] of survivors.entries()) {
      if (index < survivors.length - 1) this.#apply(image, operation);
      else for (const part of this.#torn(operation)) this.#apply(image, part);
    }
    fs.closeSync(image);
    return file;
  }

  close(): void {
    fs.closeSync(this.#fd);
    fs.rmSync(this.#base, { force: true });
  }

  /** None of them, the first ones, or some in any order. */
  #survivors(operations: readonly Operation[]): Operation[] {
    const kind = this.#random();
    if (kind < 0.2) return [];
    if (kind < 0.5) return operations.slice(0, Math.ceil(this.#random() * operations.length));
    const share = this.#random();
    return operations
      .filter(() => this.#random() < share)
      .map((operation) => ({ operation, turn: this.#random() }))
      .toSorted((a, b) => a.turn - b.turn)
      .map(({ operation }) => operation);
  }

  /** Some of an operation's sectors, any. */
  #torn(operation: Operation): Operation[] {
    const { offset, length, at } = operation;
    const share = this.#random();
    const parts: Operation[] = [];
    let kept = false;
    for (let done = 0; done < length; done += SECTOR_BYTES) {
      const where = offset + done;
      if (where <= SUPERBLOCK.from || where >= SUPERBLOCK.to) kept = this.#random() < share;
      if (kept) parts.push({ ...operation, offset: where, length: SECTOR_BYTES, at: at + done });
    }
    return parts;
  }

  #apply(image: number, { op, offset, length, at }: Operation): void {
    if (op === FLUSH || length === 0) return;
    if (op === ZERO && length > SECTOR_BYTES) {
      nodeFiles.punch(image, offset, length);
      return;
    }
    const data = Buffer.alloc(length);
    if (op === WRITE) fs.readSync(this.#fd, data, 0, length, at);
    fs.writeSync(image, data, 0, length, offset);
  }
}
