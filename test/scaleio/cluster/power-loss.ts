import fs from "node:fs";
import { nodeFiles } from "../../../src/scaleio/sdc/files.ts";
import type { Shell } from "../../helpers/shell.ts";

const [WRITE, FLUSH, ZERO] = [1, 2, 3];
const HEADER_BYTES = 16;
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

/** A state that a power loss could leave: the first operations, and maybe some of those that follow. */
export interface State {
  /** For a message. */
  readonly what: string;
  /** How many operations it has for certain. */
  readonly operations: number;
  /** One behind the last that it may have beside them, in any order, and one of them in part. */
  readonly until: number;
  /** What was acknowledged when the record was shorter than this, it must hold: its flush is among the first operations. */
  readonly sure: number;
  /** What began when the record had this length, or later, it cannot hold. */
  readonly possible: number;
}

/** The record of all that reached a volume, and the states that a power loss could have left. */
export class PowerLoss {
  readonly #fd: number;
  readonly #shell: Shell;
  readonly #directory: string;
  readonly #pieceBytes: number;
  readonly #random: () => number;
  readonly #operations: Operation[] = [];
  /** Operations that the base image has. */
  #applied = 0;

  /**
   * @param directory where the images are made, of the volume's size, as the shell has it
   * @param options.pieceBytes what the disk writes as a whole or not at all
   */
  constructor(
    { record, sizeBytes }: { readonly record: string; readonly sizeBytes: number },
    shell: Shell,
    directory: string,
    { pieceBytes, random }: { readonly pieceBytes: number; readonly random: () => number },
  ) {
    this.#fd = fs.openSync(record, "r");
    this.#shell = shell;
    this.#directory = directory;
    this.#pieceBytes = pieceBytes;
    this.#random = random;
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

  get #base(): string {
    return this.#shell.path(`${this.#directory}/base`);
  }

  /** How many prefixes the record has that are as long as this or longer. */
  prefixes(from: number): number {
    return this.#operations.length - this.#operationsIn(from) + 1;
  }

  /** How many discards there are from there on. */
  discards(from: number): number {
    return this.#operations.slice(this.#operationsIn(from)).filter(({ op }) => op === ZERO).length;
  }

  /**
   * Every state that a power loss could leave when the record was as long as this or longer, in order: each prefix, and after each
   * flush one of those with any of what follows until the next one. A flush changes nothing, so a prefix that lacks only that stands
   * for no state of its own: the one with it has the same bytes, and must hold more.
   */
  states(from: number): State[] {
    const states: State[] = [];
    const all = this.#operations.length;
    const isFlush = (index: number) => this.#operations[index]?.op === FLUSH;
    let next = 0;
    for (let operations = this.#operationsIn(from); operations <= all; operations++) {
      if (isFlush(operations)) continue;
      for (next = Math.max(next, operations); next < all && !isFlush(next); ) next++;
      const state = { operations, sure: this.#operations[next]?.end ?? Number.POSITIVE_INFINITY };
      const what = `${operations} of ${all} operations`;
      states.push({ ...state, what, until: operations, possible: this.#endOf(operations) });
      if (isFlush(operations - 1) && next > operations)
        states.push({ ...state, what: `${what} and some of the next`, until: next, possible: this.#endOf(next) });
    }
    return states;
  }

  /** Makes the image of a state and answers the shell's path of it. States have to be asked for in order. */
  async image({ operations, until }: State): Promise<string> {
    // Not sparse is what wrote zeros, as mkfs.xfs does for the whole log.
    const dig = this.#applied === 0 ? `fallocate --dig-holes ${this.#directory}/base && ` : "";
    this.#toBase(operations);
    // A file of its own: a loop device over a file that is written again may show what was there before.
    const file = `${this.#directory}/${operations}-${until}`;
    await this.#shell.output(`${dig}cp ${this.#directory}/base ${file}`);
    if (until === operations) return file;
    const image = fs.openSync(this.#shell.path(file), "r+");
    const survivors = this.#survivors(this.#operations.slice(operations, until));
    for (const [index, operation] of survivors.entries()) {
      if (index < survivors.length - 1) this.#apply(image, operation);
      else for (const part of this.#torn(operation)) this.#apply(image, part);
    }
    fs.closeSync(image);
    return file;
  }

  close(): void {
    fs.closeSync(this.#fd);
  }

  /** How many operations a record of that length has. */
  #operationsIn(length: number): number {
    return this.#operations.filter(({ end }) => end <= length).length;
  }

  /** How long the record was with so many operations. */
  #endOf(operations: number): number {
    return this.#operations[operations - 1]?.end ?? 0;
  }

  #toBase(operations: number): void {
    const base = fs.openSync(this.#base, "r+");
    for (; this.#applied < operations; this.#applied++) this.#apply(base, this.#operations[this.#applied] as Operation);
    fs.closeSync(base);
  }

  /** The first ones, or some in any order. */
  #survivors(operations: readonly Operation[]): Operation[] {
    if (this.#random() < 0.4) return operations.slice(0, Math.ceil(this.#random() * operations.length));
    const share = this.#random();
    return operations
      .filter(() => this.#random() < share)
      .map((operation) => ({ operation, turn: this.#random() }))
      .toSorted((a, b) => a.turn - b.turn)
      .map(({ operation }) => operation);
  }

  /** Some of an operation's pieces, any. */
  #torn(operation: Operation): Operation[] {
    const { offset, length, at } = operation;
    const share = this.#random();
    const parts: Operation[] = [];
    let kept = false;
    for (let done = 0; done < length; ) {
      const where = offset + done;
      const piece = Math.min(length - done, this.#pieceBytes - (where % this.#pieceBytes));
      if (where <= SUPERBLOCK.from || where >= SUPERBLOCK.to) kept = this.#random() < share;
      if (kept) parts.push({ ...operation, offset: where, length: piece, at: at + done });
      done += piece;
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
