import fs from "node:fs";
import type { BlockFile } from "./fuse-loop.ts";

/** Kinds of records. */
const OP = { write: 1, flush: 2, zero: 3 } as const;
const HEADER_BYTES = 16;

/**
 * Puts on file what a volume was asked to do before it is done: every write with its data, flush and discard, in order. From
 * such a record the states that a power loss could leave can be made again (test/scaleio/cluster/power-loss.test.ts). Each
 * record is a header of two words and a double, kind, length and offset, and the data of a write.
 */
export class Recorder implements BlockFile {
  readonly #below: BlockFile;
  readonly #fd: number;
  readonly #header = Buffer.alloc(HEADER_BYTES);

  /** Appends to the file. */
  constructor(below: BlockFile, file: string) {
    this.#below = below;
    this.#fd = fs.openSync(file, "a", 0o600);
  }

  read(into: Buffer, at: number, offset: number, length: number): void {
    this.#below.read(into, at, offset, length);
  }

  write(from: Buffer, at: number, offset: number, length: number): void {
    this.#record(OP.write, offset, length, from.subarray(at, at + length));
    this.#below.write(from, at, offset, length);
  }

  flush(): void {
    this.#record(OP.flush, 0, 0);
    this.#below.flush();
  }

  zero(offset: number, length: number): void {
    this.#record(OP.zero, offset, length);
    this.#below.zero(offset, length);
  }

  #record(op: number, offset: number, length: number, data?: Buffer): void {
    this.#header.writeUInt32LE(op, 0);
    this.#header.writeUInt32LE(length, 4);
    this.#header.writeDoubleLE(offset, 8);
    fs.writevSync(this.#fd, data === undefined ? [this.#header] : [this.#header, data]);
  }
}
