import path from "node:path";
import type { LogFile, MemberFiles } from "../../../src/scaleio/mdm/member-files.ts";

/** What a disk writes at once. Small, so that one line of a log is several. */
const PAGE = 64;

type Pending =
  | { readonly at: number; readonly bytes: Buffer }
  | { readonly length: number }
  | { readonly content: Buffer };

interface SimulatedFile {
  /** What a reader sees; undefined: no such file. */
  seen: Buffer | undefined;
  /** What is on the platter. */
  durable: Buffer | undefined;
  /** What was done since the last sync, in order. */
  pending: Pending[];
}

/** How a member's disk can be ill. full: writes are done in part and then fail. */
export type Illness = "full" | "unreadable" | "no-sync" | "no-truncate";

/** Thrown in the middle of a file operation: the process is gone. */
class Killed extends Error {}

const errno = (code: string, file: string) => Object.assign(new Error(`${code}: simulated, ${file}`), { code });

/**
 * The file layer of the MDM's members in memory: kills the caller before a chosen operation, loses power (what was not synced
 * is kept, dropped or torn, each by chance), has disks that are ill, files that are lost, rot or are put back.
 */
export class SimulatedMembers implements MemberFiles {
  readonly #random: () => number;
  #files = new Map<string, SimulatedFile>();
  /** Whose files are not to be found for the time being. */
  readonly away = new Set<string>();
  readonly ill = new Map<string, Illness>();
  /** Operations left before the caller is killed; undefined: it lives. */
  killAfter: number | undefined;
  /** The kill has happened: nothing works any more, whatever the caller does with the exception. */
  dead = false;
  /** Operations so far. */
  steps = 0;

  constructor(random: () => number) {
    this.#random = random;
  }

  read(file: string): string | undefined {
    if (this.dead) throw new Killed();
    if (this.#illness(file) === "unreadable") throw errno("EIO", file);
    return this.#isAway(file) ? undefined : this.#files.get(file)?.seen?.toString();
  }

  /** As an onlooker reads: what is on the platters, of whatever member. */
  readonly platters: Pick<MemberFiles, "read"> = { read: (file) => this.#files.get(file)?.durable?.toString() };

  async replace(file: string, content: string): Promise<void> {
    await this.#step(file);
    if (this.#illness(file) === "full") throw errno("ENOSPC", file);
    const bytes = Buffer.from(content);
    const entry = this.#entry(file);
    entry.seen = bytes;
    entry.pending = [{ content: bytes }];
    await this.#step(file);
    if (this.#illness(file) === "no-sync") throw errno("EIO", file);
    this.#harden(entry);
  }

  async keep(file: string): Promise<void> {
    await this.#step(file);
  }

  async open(file: string): Promise<LogFile> {
    await this.#step(file);
    const entry = this.#files.get(file);
    if (entry?.seen === undefined) throw errno("ENOENT", file);
    const write = async (bytes: Buffer, offset: number, length: number, position: number) => {
      await this.#step(file);
      const full = this.#illness(file) === "full";
      const some = full || this.#random() < 0.1 ? Math.floor(this.#random() * length) : length;
      if (full && some < PAGE) throw errno("ENOSPC", file);
      const done = Math.max(1, some);
      this.#do(entry, { at: position, bytes: Buffer.from(bytes.subarray(offset, offset + done)) });
      return { bytesWritten: done, buffer: bytes };
    };
    const sync = async () => {
      await this.#step(file);
      if (this.#illness(file) === "no-sync") throw errno("EIO", file);
      this.#harden(entry);
    };
    return {
      write: write as LogFile["write"],
      sync,
      // What it need not write down it does not: that the file has become shorter.
      datasync: async () => {
        if (entry.pending.some((pending) => "at" in pending)) await sync();
      },
      truncate: async (length = 0) => {
        await this.#step(file);
        if (this.#illness(file) === "no-truncate") throw errno("EIO", file);
        this.#do(entry, { length });
      },
      close: async () => undefined,
    };
  }

  /** The process has died: what it wrote is still there. */
  crash(): void {
    this.killAfter = undefined;
    this.dead = false;
  }

  /** The machine has lost power. */
  powerLoss(): void {
    this.crash();
    for (const entry of this.#files.values()) {
      let durable = entry.durable;
      for (const pending of entry.pending) durable = this.#partly(durable, pending);
      Object.assign(entry, { seen: durable, durable, pending: [] });
    }
  }

  /** All files of a member, for {@link putBack}. */
  copy(directory: string): ReadonlyMap<string, Buffer> {
    const own = [...this.#files].filter(([file]) => path.dirname(file) === directory);
    return new Map(own.flatMap(([file, { seen }]) => (seen === undefined ? [] : [[file, Buffer.from(seen)]])));
  }

  lose(directory: string): void {
    for (const file of this.#files.keys()) if (path.dirname(file) === directory) this.#files.delete(file);
  }

  /** A former copy of a member in its place. */
  putBack(directory: string, copy: ReadonlyMap<string, Buffer>): void {
    this.lose(directory);
    for (const [file, bytes] of copy)
      this.#files.set(path.join(directory, path.basename(file)), { seen: bytes, durable: bytes, pending: [] });
  }

  /** Changes a byte, behind the format's number. */
  rot(file: string): void {
    const entry = this.#files.get(file);
    if (entry?.seen === undefined || entry.seen.length < 40) return;
    const bytes = Buffer.from(entry.seen);
    const at = 30 + Math.floor(this.#random() * (bytes.length - 30));
    bytes[at] = (bytes[at] as number) ^ (1 << Math.floor(this.#random() * 8));
    Object.assign(entry, { seen: bytes, durable: bytes, pending: [] });
  }

  /** Leaves a file its beginning only. */
  tear(file: string, length: number): void {
    const entry = this.#files.get(file);
    if (entry?.seen === undefined) return;
    const bytes = entry.seen.subarray(0, length);
    Object.assign(entry, { seen: bytes, durable: bytes, pending: [] });
  }

  #entry(file: string): SimulatedFile {
    const entry = this.#files.get(file) ?? { seen: undefined, durable: undefined, pending: [] };
    this.#files.set(file, entry);
    return entry;
  }

  #do(entry: SimulatedFile, pending: Pending): void {
    entry.seen = applied(entry.seen, pending);
    entry.pending.push(pending);
  }

  #harden(entry: SimulatedFile): void {
    entry.durable = entry.seen;
    entry.pending = [];
  }

  /** What is left of an operation that was not synced. */
  #partly(durable: Buffer | undefined, pending: Pending): Buffer | undefined {
    if (!("at" in pending)) return this.#random() < 0.5 ? applied(durable, pending) : durable;
    let result = durable;
    for (let done = 0; done < pending.bytes.length; ) {
      const n = Math.min(pending.bytes.length - done, PAGE - ((pending.at + done) % PAGE));
      const piece = { at: pending.at + done, bytes: pending.bytes.subarray(done, done + n) };
      if (this.#random() < 0.6) result = applied(result, piece);
      done += n;
    }
    return result;
  }

  #illness(file: string): Illness | undefined {
    return this.ill.get(path.dirname(file));
  }

  #isAway(file: string): boolean {
    return this.away.has(path.dirname(file));
  }

  /** Operations of several members overlap in any order. */
  async #step(file: string): Promise<void> {
    for (let turns = Math.floor(this.#random() * 4); turns > 0; turns--) await undefined;
    this.steps++;
    if (this.killAfter !== undefined && this.killAfter-- <= 0) this.dead = true;
    if (this.dead) throw new Killed();
    if (this.#isAway(file) || this.#illness(file) === "unreadable") throw errno("EIO", file);
  }
}

function applied(before: Buffer | undefined, pending: Pending): Buffer {
  if ("content" in pending) return pending.content;
  const old = before ?? Buffer.alloc(0);
  if ("length" in pending) return Buffer.from(old.subarray(0, pending.length));
  const result = Buffer.alloc(Math.max(old.length, pending.at + pending.bytes.length));
  old.copy(result);
  pending.bytes.copy(result, pending.at);
  return result;
}
