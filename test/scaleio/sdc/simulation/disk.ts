import { dirname } from "node:path";
import { type Files, whole } from "../../../../src/scaleio/sdc/files.ts";
import type { Random } from "../../../helpers/random.ts";
import { divided, type Pending } from "./pending.ts";
import { PAGE, SparseBytes } from "./sparse-bytes.ts";
import { MIB } from "./units.ts";

/** Thrown in the middle of a file operation: the process is gone. */
export class Killed extends Error {}

/** An engine or the MDM has said no to a request, and may. */
export class Refused extends Error {}

interface SimulatedFile {
  size: number;
  /** What a reader sees. */
  readonly seen: SparseBytes;
  /** What is on the platter. */
  readonly durable: SparseBytes;
  /** Changed since the last sync, in order. */
  pending: Pending[];
  /** Pages that a failed sync has left in memory, taken for written: seen and durable may differ. */
  readonly stray: Set<number>;
}

const SUMS = ".sum";

const isIn = (prefixes: ReadonlySet<string>, path: string) => {
  for (const prefix of prefixes) if (path.startsWith(prefix)) return true;
  return false;
};

const errno = (code: string, path: string) => Object.assign(new Error(`${code}: simulated, ${path}`), { code });

/**
 * A file layer in memory that can be made to fail: kills the caller before a chosen operation, loses power (unsynced
 * 512-byte pages are kept, dropped or kept in an older version, each by chance; so are files whose directory was not synced), does a part of what is asked, answers EIO and
 * ENOSPC for chosen paths. A sync that fails is one as Linux has it: what it was about may be on the platter, gone, or in
 * memory only, and the next sync knows nothing of it.
 */
export class SimulatedDisk implements Files {
  readonly #files = new Map<string, SimulatedFile>();
  readonly #open = new Map<number, { path: string; durable: boolean }>();
  readonly #random: Random;
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
  /** Beginnings of paths below which checksums can be neither read nor written. */
  readonly brokenSums = new Set<string>();
  /** Beginnings of paths on which writes answer EIO and have done nothing. */
  readonly refusedWrites = new Set<string>();
  /** Beginnings of paths that take writes and then cannot make them durable. */
  readonly brokenSyncs = new Set<string>();
  /** What is going to break, after so many operations, and for how many. */
  readonly #breaking: {
    left: number;
    readonly lasts: number;
    readonly broken: Set<string>;
    readonly prefix: string;
  }[] = [];
  /** Files on which something has failed since they were last in order. */
  readonly complained = new Set<string>();
  /** Files whose directory has not been synced since they were made. */
  readonly #unnamed = new Set<string>();
  /** Prefixes of paths that are labelled device directories. */
  readonly labels = new Set<string>();
  /** The MiB of each file in which something has changed; whoever looks clears it. */
  readonly changed = new Map<string, Set<number>>();
  /** Told of the pages that a failed sync may have lost, none perhaps; `copied`: it was of a range, as copies are made. */
  lost: (path: string, position: number, length: number, copied: boolean) => void = () => undefined;

  constructor(random: Random) {
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
      const [seen, onPlatter] = [new SparseBytes(), new SparseBytes()];
      this.#files.set(path, { size: 0, seen, durable: onPlatter, pending: [], stray: new Set() });
      this.#unnamed.add(path);
    }
    this.#open.set(this.#nextFd, { path, durable });
    return this.#nextFd++;
  }

  datasync(fd: number): void {
    this.#step();
    const { path, file } = this.#file(fd);
    if (!isIn(this.brokenWrites, path) && !isIn(this.brokenSyncs, path)) {
      this.#harden(file, file.pending);
      file.pending = [];
      return;
    }
    this.#fail(path, file, file.pending, false);
    file.pending = [];
    throw this.#broken("EIO", path);
  }

  syncRange(fd: number, position: number, length: number): void {
    this.#step();
    const { path, file } = this.#file(fd);
    const [inside, outside] = divided(file.pending, position, length);
    file.pending = outside;
    if (isIn(this.brokenWrites, path) || isIn(this.brokenSyncs, path)) {
      this.#fail(path, file, inside, true);
      throw this.#broken("EIO", path);
    }
    this.#harden(file, inside);
  }

  refresh(fd: number): void {
    this.#step();
    const { path, file } = this.#file(fd);
    for (const page of file.stray) {
      file.seen.take(file.durable, page);
      this.#note(path, page * PAGE, PAGE);
    }
    file.stray.clear();
  }

  punch(fd: number, position: number, length: number): void {
    this.#step();
    const { path, file } = this.#file(fd);
    if (isIn(this.brokenWrites, path)) throw this.#broken("EIO", path);
    const first = Math.ceil(position / PAGE) * PAGE;
    const end = Math.floor((position + length) / PAGE) * PAGE;
    for (const [from, to] of [
      [position, Math.min(first, position + length)],
      [Math.max(first, end), position + length],
    ] as const)
      if (to > from) this.#put(path, file, from, Buffer.alloc(to - from));
    if (end <= first) return;
    file.seen.punch(first, end - first);
    this.#isPending(file, first, end - first);
    file.pending.push({ position: first, length: end - first, data: undefined });
    this.#note(path, first, end - first);
  }

  resize(fd: number, bytes: number): void {
    this.#step();
    this.#file(fd).file.size = bytes;
  }

  allocated(fd: number): number {
    return this.#file(fd).file.seen.held * PAGE;
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

  /** From then on, in the middle of something, what is below is broken; it may come to itself again. */
  breakAfter(operations: number, broken: Set<string>, prefix: string, lasts = Number.POSITIVE_INFINITY): void {
    this.#breaking.push({ left: operations, lasts, broken, prefix });
  }

  /** Everything below works again. */
  repair(prefix: string): void {
    for (const due of this.#breaking.splice(0)) if (due.prefix !== prefix) this.#breaking.push(due);
    for (const broken of [this.brokenReads, this.brokenWrites, this.brokenSums, this.refusedWrites, this.brokenSyncs])
      broken.delete(prefix);
    for (const path of this.complained) if (path.startsWith(prefix)) this.complained.delete(path);
  }

  /** One bit of what is stored is another one, if anything is stored there. */
  rot(path: string, position: number): void {
    const file = this.#files.get(path);
    if (file === undefined || !file.seen.flip(position)) return;
    file.durable.flip(position);
    this.#note(path, position, 1);
  }

  paths(): string[] {
    return [...this.#files.keys()];
  }

  remove(path: string): void {
    this.#files.delete(path);
    this.#unnamed.delete(path);
  }

  /** What a reader would see, whatever is broken; undefined: there is no such file. */
  peek(path: string, into: Buffer, position: number): boolean {
    const file = this.#files.get(path);
    file?.seen.read(into, 0, position, into.length);
    return file !== undefined;
  }

  /** Whether all of the range is on the platter, as far as the last sync was told. */
  isSynced(path: string, position: number, length: number): boolean {
    const pending = this.#files.get(path)?.pending ?? [];
    return pending.every((part) => part.position >= position + length || part.position + part.length <= position);
  }

  /** Pages of the range that take space. */
  heldIn(path: string, position: number, length: number): number {
    const seen = this.#files.get(path)?.seen;
    let held = 0;
    for (let page = position / PAGE; page * PAGE < position + length; page++) if (seen?.isHeld(page)) held++;
    return held;
  }

  /** Runs what another process does: it is not killed. */
  undisturbed<T>(task: () => T): T {
    const { killAfter } = this;
    this.killAfter = undefined;
    const result = task();
    this.killAfter = killAfter;
    return result;
  }

  /** How many are open. */
  get descriptors(): number {
    return this.#open.size;
  }

  /** The process died: its descriptors are gone, what it wrote is still in the page cache. */
  crash(): void {
    this.#open.clear();
    this.complained.clear();
    this.killAfter = undefined;
    this.dead = false;
  }

  /** The machine lost power. */
  powerLoss(): void {
    this.crash();
    for (const path of this.#unnamed) {
      if (this.#random() < 0.5) continue;
      this.#note(path, 0, this.#files.get(path)?.size ?? 0);
      this.#files.delete(path);
    }
    this.#unnamed.clear();
    for (const [path, file] of this.#files) {
      const touched = new Set(file.stray);
      for (const { position, length, data } of file.pending) {
        for (let done = 0; done < length; done += PAGE) {
          touched.add((position + done) / PAGE);
          if (this.#random() < 0.5) continue;
          if (data === undefined) file.durable.punch(position + done, PAGE);
          else file.durable.write(position + done, data.subarray(done, done + PAGE));
        }
      }
      file.pending = [];
      file.stray.clear();
      for (const page of touched) {
        file.seen.take(file.durable, page);
        this.#note(path, page * PAGE, PAGE);
      }
    }
  }

  #readSome(fd: number, into: Buffer, at: number, length: number, position: number): number {
    this.#step();
    const { path, file } = this.#file(fd);
    if (isIn(this.brokenReads, path) || this.#lacksSums(path)) throw this.#broken("EIO", path);
    const there = Math.max(0, Math.min(this.#some(length, position), file.size - position));
    file.seen.read(into, at, position, there);
    return there;
  }

  /** What fails has done a part of it, as a disk that is full does. */
  #writeSome(fd: number, from: Buffer, at: number, length: number, position: number): number {
    const { path, file, durable } = this.#file(fd);
    if (isIn(this.refusedWrites, path)) throw this.#broken("EIO", path);
    const broken = isIn(this.brokenWrites, path) || this.#lacksSums(path);
    const some = broken ? this.#part(length, position) : this.#some(length, position);
    // A kill may come after any 64 KiB, and a power loss tears what was written: no write is one piece.
    if (some === 0) this.#step();
    for (let done = 0; done < some; ) {
      this.#step();
      const n = Math.min(some - done, 65536);
      this.#put(path, file, position + done, from.subarray(at + done, at + done + n));
      file.size = Math.max(file.size, position + done + n);
      done += n;
    }
    if (durable) {
      this.#harden(file, file.pending);
      file.pending = [];
    }
    if (broken) throw this.#broken(this.#random() < 0.5 ? "EIO" : "ENOSPC", path);
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

  #put(path: string, file: SimulatedFile, position: number, bytes: Uint8Array): void {
    file.seen.write(position, bytes);
    this.#isPending(file, position, bytes.length);
    const first = Math.floor(position / PAGE) * PAGE;
    const length = Math.ceil((position + bytes.length) / PAGE) * PAGE - first;
    const data = Buffer.allocUnsafe(length);
    file.seen.read(data, 0, first, length);
    file.pending.push({ position: first, length, data });
    this.#note(path, first, length);
  }

  #harden(file: SimulatedFile, changes: readonly Pending[]): void {
    for (const { position, length, data } of changes) {
      if (data === undefined) file.durable.punch(position, length);
      else file.durable.write(position, data);
    }
  }

  /** A sync of these changes has failed. */
  #fail(path: string, file: SimulatedFile, changes: readonly Pending[], copied: boolean): void {
    if (changes.length === 0) this.lost(path, 0, 0, copied);
    for (const { position, length } of changes) {
      this.lost(path, position, length, copied);
      this.#note(path, position, length);
      for (let page = position / PAGE; page * PAGE < position + length; page++) {
        const fate = this.#random();
        if (fate < 0.4) file.durable.take(file.seen, page);
        else if (fate < 0.7) file.stray.add(page);
        else file.seen.take(file.durable, page);
      }
    }
  }

  /** What is written anew is to be written. */
  #isPending({ stray }: SimulatedFile, position: number, length: number): void {
    if (stray.size === 0) return;
    for (let page = Math.floor(position / PAGE); page * PAGE < position + length; page++) stray.delete(page);
  }

  #note(path: string, position: number, length: number): void {
    let chunks = this.changed.get(path);
    if (chunks === undefined) {
      chunks = new Set();
      this.changed.set(path, chunks);
    }
    for (let chunk = Math.floor(position / MIB); chunk * MIB < position + length; chunk++) chunks.add(chunk);
  }

  #lacksSums(path: string): boolean {
    return path.endsWith(SUMS) && isIn(this.brokenSums, path);
  }

  #broken(code: string, path: string): Error {
    this.complained.add(path);
    return errno(code, path);
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
    for (const due of this.#breaking) {
      if (due.left === 0) due.broken.add(due.prefix);
      if (due.left === -due.lasts) due.broken.delete(due.prefix);
      due.left--;
    }
  }
}
