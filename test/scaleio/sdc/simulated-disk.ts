import { dirname } from "node:path";
import { type Files, whole } from "../../../src/scaleio/sdc/files.ts";

const PAGE = 512;

/** Thrown in the middle of a file operation: the process is gone. */
export class Killed extends Error {}

type Pages = Map<number, Uint8Array>;
interface SimulatedFile {
  size: number;
  /** What a reader sees, as far as anything has been written. */
  seen: Buffer;
  /** Pages that take space. */
  held: Set<number>;
  /** What is on the platter. */
  durable: Pages;
  /** Pages written since the last sync, in order; several versions of one page may be there. */
  pending: { page: number; data: Uint8Array }[];
}

const isIn = (prefixes: ReadonlySet<string>, path: string) => {
  for (const prefix of prefixes) if (path.startsWith(prefix)) return true;
  return false;
};

const errno = (code: string, path: string) => Object.assign(new Error(`${code}: simulated, ${path}`), { code });

/**
 * A file layer in memory that can be made to fail: kills the caller before a chosen operation, loses power (unsynced
 * 512-byte pages are kept, dropped or kept in an older version, each by chance), does a part of what is asked, answers EIO and
 * ENOSPC for chosen paths.
 */
export class SimulatedDisk implements Files {
  readonly #files = new Map<string, SimulatedFile>();
  readonly #open = new Map<number, { path: string; durable: boolean }>();
  readonly #random: () => number;
  readonly read: Files["read"];
  readonly write: Files["write"];
  #nextFd = 3;
  /** Operations left before the caller is killed; undefined: it lives. */
  killAfter: number | undefined;
  /** The kill has happened: nothing works any more, whatever the caller does with the exception. */
  dead = false;
  /** Beginnings of paths on which reads answer EIO, and writes EIO or ENOSPC. */
  readonly brokenReads = new Set<string>();
  readonly brokenWrites = new Set<string>();
  /** Beginnings of paths that take writes and then cannot make them durable. */
  readonly brokenSyncs = new Set<string>();
  /** Files whose directory has not been synced since they were made. */
  readonly #unnamed = new Set<string>();
  /** Prefixes of paths that are labelled device directories. */
  readonly labels = new Set<string>();

  constructor(random: () => number) {
    this.#random = random;
    const { read, write } = whole({
      read: (...args) => this.#readSome(...args),
      write: (...args) => this.#writeSome(...args),
    });
    this.read = read;
    this.write = write;
  }

  open(path: string, { create = false, durable = false } = {}): number {
    this.#step();
    if (!this.#files.has(path)) {
      if (!create) throw errno("ENOENT", path);
      this.#files.set(path, { size: 0, seen: Buffer.alloc(0), held: new Set(), durable: new Map(), pending: [] });
      this.#unnamed.add(path);
    }
    this.#open.set(this.#nextFd, { path, durable });
    return this.#nextFd++;
  }

  datasync(fd: number): void {
    this.#step();
    const { path, file } = this.#file(fd);
    if (isIn(this.brokenWrites, path) || isIn(this.brokenSyncs, path)) throw errno("EIO", path);
    this.#harden(file);
  }

  punch(fd: number, position: number, length: number): void {
    this.#step();
    const { path, file } = this.#file(fd);
    if (isIn(this.brokenWrites, path)) throw errno("EIO", path);
    for (let at = position; at < position + length; ) {
      const page = Math.floor(at / PAGE);
      const start = at % PAGE;
      const n = Math.min(position + length - at, PAGE - start);
      if (file.held.has(page)) this.#put(file, page, start, new Uint8Array(n));
      if (n === PAGE) file.held.delete(page);
      at += n;
    }
  }

  resize(fd: number, bytes: number): void {
    this.#step();
    this.#file(fd).file.size = bytes;
  }

  allocated(fd: number): number {
    return this.#file(fd).file.held.size * PAGE;
  }

  close(fd: number): void {
    this.#open.delete(fd);
  }

  exists(path: string): boolean {
    return this.#files.has(path) || this.labels.has(path);
  }

  syncDirectory(directory: string): void {
    this.#step();
    for (const path of this.#unnamed) if (dirname(path) === directory) this.#unnamed.delete(path);
  }

  /** Everything below works again. */
  repair(prefix: string): void {
    for (const broken of [this.brokenReads, this.brokenWrites, this.brokenSyncs]) broken.delete(prefix);
  }

  /** One bit of what is stored is another one, if anything is stored there. */
  rot(path: string, position: number): void {
    const file = this.#files.get(path);
    const page = Math.floor(position / PAGE);
    if (file === undefined || !file.held.has(page)) return;
    file.seen[position] = (file.seen[position] as number) ^ 4;
    const durable = file.durable.get(page);
    if (durable !== undefined) durable[position % PAGE] = (durable[position % PAGE] as number) ^ 4;
  }

  paths(): string[] {
    return [...this.#files.keys()];
  }

  remove(path: string): void {
    this.#files.delete(path);
  }

  /** The process died: its descriptors are gone, what it wrote is still in the page cache. */
  crash(): void {
    this.#open.clear();
    this.killAfter = undefined;
    this.dead = false;
  }

  /** The machine lost power. */
  powerLoss(): void {
    this.crash();
    for (const path of this.#unnamed) if (this.#random() < 0.5) this.#files.delete(path);
    this.#unnamed.clear();
    for (const file of this.#files.values()) {
      for (const { page, data } of file.pending) if (this.#random() < 0.5) file.durable.set(page, data);
      file.pending = [];
      file.seen.fill(0);
      file.held = new Set(file.durable.keys());
      for (const [page, data] of file.durable) file.seen.set(data, page * PAGE);
    }
  }

  #readSome(fd: number, into: Buffer, at: number, length: number, position: number): number {
    this.#step();
    const { path, file } = this.#file(fd);
    const some = this.#some(length, position);
    const there = Math.max(0, Math.min(some, file.seen.length - position));
    if (there > 0) file.seen.copy(into, at, position, position + there);
    if (isIn(this.brokenReads, path)) throw errno("EIO", path);
    // Beyond what was written, and before the end of the file, there is a hole.
    const hole = Math.max(0, Math.min(some, file.size - position) - there);
    into.fill(0, at + there, at + there + hole);
    return there + hole;
  }

  /** What fails has done a part of it, as a disk that is full does. */
  #writeSome(fd: number, from: Buffer, at: number, length: number, position: number): number {
    const { path, file, durable } = this.#file(fd);
    const broken = isIn(this.brokenWrites, path);
    const some = broken ? this.#part(length, position) : this.#some(length, position);
    // A kill may come after any page: the write is torn.
    if (some === 0) this.#step();
    for (let done = 0; done < some; ) {
      if (done % 65536 === 0) this.#step();
      const page = Math.floor((position + done) / PAGE);
      const start = (position + done) % PAGE;
      const n = Math.min(some - done, PAGE - start);
      this.#put(file, page, start, from.subarray(at + done, at + done + n));
      done += n;
    }
    if (durable) this.#harden(file);
    file.size = Math.max(file.size, position + some);
    if (broken) throw errno(this.#random() < 0.5 ? "EIO" : "ENOSPC", path);
    return some;
  }

  /** Now and then a transfer is short. */
  #some(length: number, position: number): number {
    return (this.#random() < 0.1 && this.#part(length, position)) || length;
  }

  /** A part of a transfer that ends with a page; maybe nothing. */
  #part(length: number, position: number): number {
    const end = position + Math.floor(this.#random() * length);
    return Math.max(0, end - (end % PAGE) - position);
  }

  #put(file: SimulatedFile, page: number, start: number, bytes: Uint8Array): void {
    const end = (page + 1) * PAGE;
    if (file.seen.length < end) {
      const larger = Buffer.alloc(Math.max(end, 2 * file.seen.length));
      file.seen.copy(larger);
      file.seen = larger;
    }
    file.seen.set(bytes, page * PAGE + start);
    file.held.add(page);
    file.pending.push({ page, data: new Uint8Array(file.seen.subarray(page * PAGE, end)) });
  }

  #harden(file: SimulatedFile): void {
    for (const { page, data } of file.pending) file.durable.set(page, data);
    file.pending = [];
  }

  #file(fd: number): { path: string; file: SimulatedFile; durable: boolean } {
    const entry = this.#open.get(fd);
    const file = entry && this.#files.get(entry.path);
    if (entry === undefined || file === undefined) throw errno("EBADF", String(fd));
    return { ...entry, file };
  }

  #step(): void {
    if (this.killAfter !== undefined && this.killAfter-- <= 0) this.dead = true;
    if (this.dead) throw new Killed("killed");
  }
}
