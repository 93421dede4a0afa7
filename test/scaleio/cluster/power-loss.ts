import fs from "node:fs";

const [WRITE, FLUSH, ZERO] = [1, 2, 3];
const HEADER_BYTES = 16;

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
  readonly #operations: Operation[] = [];
  /** Operations that the base image has. */
  #applied = 0;
  readonly #base: string;

  /** @param image where the images are made, of the volume's size: a file name's beginning */
  constructor(record: string, image: string, sizeBytes: number) {
    this.#fd = fs.openSync(record, "r");
    this.#image = image;
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

  /** Indexes of the flushes. */
  get flushes(): number[] {
    return this.#operations.flatMap(({ op }, index) => (op === FLUSH ? [index] : []));
  }

  /** Where in the record an operation ends: what had been acknowledged when the record was that long, it must hold. */
  endOf(index: number): number {
    return this.#operations[index]?.end ?? 0;
  }

  /**
   * Makes the image of a power loss after this flush: all before it, and of what follows, up to the next one, whatever
   * `survives` chooses, in any order. Flushes have to be asked for in order.
   */
  imageAfter(flush: number, survives: () => boolean): string {
    const base = fs.openSync(this.#base, "r+");
    for (; this.#applied <= flush; this.#applied++) this.#apply(base, this.#operations[this.#applied] as Operation);
    fs.closeSync(base);
    // A file of its own: what the kernel does late for a former one must not reach it.
    const file = `${this.#image}.${flush}`;
    fs.copyFileSync(this.#base, file);
    const image = fs.openSync(file, "r+");
    const next = this.#operations.findIndex(({ op }, index) => op === FLUSH && index > flush);
    const open = this.#operations.slice(flush + 1, next < 0 ? undefined : next);
    for (const operation of open) if (survives()) this.#apply(image, operation);
    fs.closeSync(image);
    return file;
  }

  close(): void {
    fs.closeSync(this.#fd);
    fs.rmSync(this.#base, { force: true });
  }

  #apply(image: number, { op, offset, length, at }: Operation): void {
    if (op === FLUSH) return;
    const data = Buffer.alloc(length);
    if (op !== ZERO) fs.readSync(this.#fd, data, 0, length, at);
    fs.writeSync(image, data, 0, length, offset);
  }
}
