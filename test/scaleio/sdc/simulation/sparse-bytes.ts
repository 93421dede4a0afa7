/** What a disk may keep or lose of a write: a sector. */
export const PAGE = 512;
const BLOCK = 64 * 1024;
const PAGES = BLOCK / PAGE;

interface Block {
  readonly bytes: Buffer;
  /** 1 for each page that takes space. */
  readonly held: Uint8Array;
}

/** The content of a sparse file, in pages. What is not held reads as zeros. */
export class SparseBytes {
  readonly #blocks = new Map<number, Block>();
  /** Pages that take space. */
  held = 0;

  read(into: Buffer, at: number, position: number, length: number): void {
    each(position, length, (number, start, n, done) => {
      const block = this.#blocks.get(number);
      if (block === undefined) into.fill(0, at + done, at + done + n);
      else block.bytes.copy(into, at + done, start, start + n);
    });
  }

  /** The pages that it touches are held afterwards. */
  write(position: number, from: Uint8Array): void {
    each(position, from.length, (number, start, n, done) => {
      const block = this.#block(number);
      block.bytes.set(from.subarray(done, done + n), start);
      for (let page = Math.floor(start / PAGE); page * PAGE < start + n; page++) {
        if (block.held[page] === 0) this.held++;
        block.held[page] = 1;
      }
    });
  }

  /** Whole pages become holes. */
  punch(position: number, length: number): void {
    each(position, length, (number, start, n) => {
      const block = this.#blocks.get(number);
      if (block === undefined) return;
      block.bytes.fill(0, start, start + n);
      for (let page = start / PAGE; page * PAGE < start + n; page++) {
        if (block.held[page] === 1) this.held--;
        block.held[page] = 0;
      }
    });
  }

  /** Takes over a page, hole or not. */
  take(other: SparseBytes, page: number): void {
    const block = other.#blocks.get(Math.floor(page / PAGES));
    const start = (page % PAGES) * PAGE;
    if (block === undefined || block.held[page % PAGES] === 0) this.punch(page * PAGE, PAGE);
    else this.write(page * PAGE, block.bytes.subarray(start, start + PAGE));
  }

  isHeld(page: number): boolean {
    return this.#blocks.get(Math.floor(page / PAGES))?.held[page % PAGES] === 1;
  }

  /** One bit of a held page is another one. False: the page is a hole. */
  flip(position: number): boolean {
    if (!this.isHeld(Math.floor(position / PAGE))) return false;
    const { bytes } = this.#block(Math.floor(position / BLOCK));
    bytes[position % BLOCK] = (bytes[position % BLOCK] as number) ^ 4;
    return true;
  }

  #block(number: number): Block {
    let block = this.#blocks.get(number);
    if (block === undefined) {
      block = { bytes: Buffer.alloc(BLOCK), held: new Uint8Array(PAGES) };
      this.#blocks.set(number, block);
    }
    return block;
  }
}

function each(
  position: number,
  length: number,
  part: (number: number, start: number, n: number, done: number) => void,
): void {
  for (let done = 0; done < length; ) {
    const start = (position + done) % BLOCK;
    const n = Math.min(length - done, BLOCK - start);
    part(Math.floor((position + done) / BLOCK), start, n, done);
    done += n;
  }
}
