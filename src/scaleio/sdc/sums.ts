import { crc32 } from "node:zlib";
import type { Files } from "./files.ts";

/** Every block of this many bytes of every copy has a checksum. */
export const BLOCK_BYTES = 4096;
const SUM_BYTES = 4;
/** Sums are read and written in pages: one covers 4 MiB, never more than a region of the write-intent record. */
const PAGE_SUMS = 1024;
const PAGE_BYTES = PAGE_SUMS * SUM_BYTES;
/** Pages kept in memory, beyond those that are not written yet. */
const MOST_PAGES = 256;
const ZERO_CRC = crc32(Buffer.alloc(BLOCK_BYTES));

/** The file of checksums beside a layer's file. */
export const sumFile = (file: string): string => `${file}.sum`;

/** A block's checksum; 0 for a block of zeros, so that a hole in the one file is a hole in the other. */
export const sumOf = (block: Uint8Array): number => (crc32(block) ^ ZERO_CRC) >>> 0;

interface Page {
  readonly sums: Uint32Array;
  dirty: boolean;
  /** What it has came from the file, where a former engine's sync may have failed: memory may have it and the disk not. */
  foreign: boolean;
}

/**
 * The checksums of one layer's file on one device. They are written late: a region's sums are on disk before the region leaves
 * the write-intent record, and after an unclean stop the sums of the regions that are on record are made anew from what both
 * copies agree upon. So a write costs no further system call. Methods throw errno errors.
 */
export class Sums {
  readonly #files: Files;
  readonly #fd: number;
  /** Not at first: a former engine that was killed may have left writes that only the page cache has. */
  #synced = false;
  readonly #pages = new Map<number, Page>();

  constructor(files: Files, file: string) {
    this.#files = files;
    this.#fd = files.open(sumFile(file));
  }

  get(block: number): number {
    return this.#page(block).sums[block % PAGE_SUMS] as number;
  }

  /** As it is on disk now: another process may have put it there since (lower-layers.ts). */
  getAgain(block: number): number {
    const index = Math.floor(block / PAGE_SUMS);
    if (this.#pages.get(index)?.dirty === false) this.#pages.delete(index);
    return this.get(block);
  }

  set(block: number, sum: number): void {
    const page = this.#page(block);
    if (page.sums[block % PAGE_SUMS] === sum && !page.foreign) return;
    page.sums[block % PAGE_SUMS] = sum;
    page.dirty = true;
    page.foreign = false;
  }

  /** Blocks [first, end) are zeros. */
  zero(first: number, end: number): void {
    for (let block = first; block < end; ) {
      const start = block % PAGE_SUMS;
      const index = Math.floor(block / PAGE_SUMS);
      const count = Math.min(PAGE_SUMS - start, end - block);
      const page = this.#page(block);
      if (page.sums.subarray(start, start + count).some((sum) => sum !== 0)) {
        page.sums.fill(0, start, start + count);
        page.dirty = true;
        page.foreign = false;
      }
      block = index * PAGE_SUMS + start + count;
    }
  }

  /** Puts them on disk. What a sync that failed was about is written again by the next one. */
  flush(): void {
    const written: Page[] = [];
    for (const [index, page] of this.#pages) {
      if (!page.dirty) continue;
      const bytes = Buffer.from(page.sums.buffer, page.sums.byteOffset, PAGE_BYTES);
      this.#files.write(this.#fd, bytes, 0, PAGE_BYTES, index * PAGE_BYTES);
      written.push(page);
    }
    if (!this.#synced || written.length > 0) this.#files.datasync(this.#fd);
    for (const page of written) page.dirty = false;
    this.#synced = true;
    this.#forget();
  }

  close(): void {
    this.#files.close(this.#fd);
  }

  #page(block: number): Page {
    const index = Math.floor(block / PAGE_SUMS);
    const known = this.#pages.get(index);
    if (known !== undefined) return known;
    if (this.#pages.size >= MOST_PAGES) this.#forget();
    const bytes = Buffer.alloc(PAGE_BYTES);
    this.#files.read(this.#fd, bytes, 0, PAGE_BYTES, index * PAGE_BYTES);
    const page = { sums: new Uint32Array(bytes.buffer, bytes.byteOffset, PAGE_SUMS), dirty: false, foreign: true };
    this.#pages.set(index, page);
    return page;
  }

  /** Pages that are on disk can be read again. */
  #forget(): void {
    if (this.#pages.size < MOST_PAGES) return;
    for (const [index, page] of this.#pages) if (!page.dirty) this.#pages.delete(index);
  }
}

/** Views of the blocks of the few buffers that data passes through, made once. */
const views = new WeakMap<Buffer, (Uint8Array | undefined)[]>();

/** The block of a buffer that begins at `at`, without making an object for each request. */
export function blockAt(buffer: Buffer, at: number): Uint8Array {
  let known = views.get(buffer);
  if (known === undefined) {
    known = [];
    views.set(buffer, known);
  }
  // Positions are a fixed header and a multiple of sectors away from the start.
  const key = at;
  let view = known[key];
  if (view === undefined) {
    view = buffer.subarray(at, at + BLOCK_BYTES);
    known[key] = view;
  }
  return view;
}
