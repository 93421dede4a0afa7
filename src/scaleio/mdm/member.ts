import { createHash } from "node:crypto";
import path from "node:path";
import { crc32 } from "node:zlib";
import { SimError } from "../../lib/errors.ts";
import type { Change } from "../model.ts";
import { type LogFile, type MemberFiles, nodeMemberFiles } from "./member-files.ts";

/** 2: the checksum of a snapshot is of all that it says. */
const FORMAT = 2;

/** A place in the history: of two histories the one that ends in the higher epoch is newer, in the same epoch the longer one. */
export interface Position {
  readonly epoch: number;
  readonly index: number;
}

/** One change. */
export interface Entry extends Position {
  /** Null: only the beginning of an epoch. */
  readonly change: Change | null;
}

/** All entries up to a position, folded into a snapshot text. */
export interface Snapshot extends Position {
  readonly tables: string;
}

export interface History {
  readonly snapshot: Snapshot | undefined;
  readonly entries: readonly Entry[];
}

export const lastOf = ({ snapshot, entries }: History): Position =>
  entries.at(-1) ?? snapshot ?? { epoch: 0, index: 0 };

/**
 * Lines of the log, to be written at once: checksum, a space, JSON. `batch` is the index of the first of them: power loss may
 * leave later lines of a write and not the earlier ones.
 */
export function encode(entries: readonly Entry[]): string {
  const batch = entries.length > 1 ? { batch: entries[0]?.index } : {};
  return entries
    .map((entry) => {
      const text = JSON.stringify({ format: FORMAT, ...batch, ...entry });
      return `${crc32(text).toString(16).padStart(8, "0")} ${text}\n`;
    })
    .join("");
}

type Line = Entry & { readonly format: number; readonly batch?: number };

function decode(line: string): Line {
  const text = line.slice(9);
  if (line.slice(0, 8) !== crc32(text).toString(16).padStart(8, "0")) throw new Error("checksum");
  return JSON.parse(text);
}

/**
 * The files of one MDM member: `snapshot.json` and `log`. Knows how to read, append and replace them; what to make of them
 * is the cluster's business.
 */
export class Member {
  readonly name: string;
  readonly directory: string;
  readonly #files: MemberFiles;
  #log: LogFile | undefined;
  #end = 0;
  /** Its files could not be understood when they were read last. */
  #damaged = false;
  /** Why it takes no changes; "" when it does. */
  reason = "not open";

  constructor(directory: string, files: MemberFiles = nodeMemberFiles) {
    this.#files = files;
    this.directory = directory;
    this.name = path.basename(directory);
  }

  get #logFile(): string {
    return path.join(this.directory, "log");
  }

  get #snapshotFile(): string {
    return path.join(this.directory, "snapshot.json");
  }

  /** Bytes of the log's sound part. */
  get length(): number {
    return this.#end;
  }

  /** Undefined: the member has nothing. Throws state_corrupt, state_newer, errno errors. */
  read(): History | undefined {
    try {
      const history = this.#read();
      this.#damaged = false;
      return history;
    } catch (error) {
      this.#damaged = true;
      throw error;
    }
  }

  #read(): History | undefined {
    const snapshotText = this.#files.read(this.#snapshotFile);
    const log = this.#files.read(this.#logFile);
    const snapshot = snapshotText === undefined ? undefined : this.#parseSnapshot(snapshotText);
    // The log is made first and never removed.
    if (snapshot !== undefined && log === undefined) throw new SimError("state_corrupt", `${this.#logFile} is missing`);
    // A kill between the two steps of replace() leaves a log that the new snapshot supersedes.
    const entries = this.#parseLog(log ?? "", snapshot?.index ?? 0).filter(
      ({ epoch, index }) => index > (snapshot?.index ?? 0) && epoch >= (snapshot?.epoch ?? 0),
    );
    const first = entries[0];
    if (snapshot === undefined && first === undefined) return undefined;
    if (first !== undefined && first.index !== (snapshot?.index ?? 0) + 1) {
      throw new SimError(
        "state_corrupt",
        `${this.#logFile} begins with change ${first.index}, but ${this.#snapshotFile} ends with ${snapshot?.index ?? 0}`,
      );
    }
    return { snapshot, entries };
  }

  /** Durable when it returns. When it throws, the log may have all, a part or nothing of it: see {@link cutBack}. */
  async append(text: string): Promise<void> {
    if (this.#log === undefined) throw new Error("not open");
    const bytes = Buffer.from(text);
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await this.#log.write(bytes, done, bytes.length - done, this.#end + done);
      if (bytesWritten === 0) throw new Error(`${this.#logFile}: of ${bytes.length - done} bytes none were written`);
      done += bytesWritten;
    }
    await this.#log.datasync();
    this.#end += bytes.length;
  }

  /** Takes back what was appended since the log had this length. Durable when it returns. */
  async cutBack(length: number): Promise<void> {
    if (this.#log === undefined) throw new Error("not open");
    await this.#log.truncate(length);
    await this.#log.sync();
    this.#end = length;
  }

  /**
   * Replaces everything and is open then: the snapshot first, then an empty log. A log left by a kill in between is told by
   * its epochs and indexes. Files that cannot be understood get a second name, for somebody to look at.
   */
  async replace(snapshot: Snapshot): Promise<void> {
    await this.close();
    if (this.#damaged)
      for (const file of [this.#logFile, this.#snapshotFile]) await this.#files.keep(file, `${file}.damaged`);
    this.#damaged = false;
    const isNew = this.#files.read(this.#logFile) === undefined;
    if (isNew) await this.#files.replace(this.#logFile, "");
    await this.#files.replace(this.#snapshotFile, encodeSnapshot(snapshot));
    if (!isNew) await this.#files.replace(this.#logFile, "");
    this.#end = 0;
    this.#log = await this.#files.open(this.#logFile);
    this.reason = "";
  }

  async fail(reason: string): Promise<void> {
    this.reason = reason;
    await this.close();
  }

  async close(): Promise<void> {
    await this.#log?.close().catch(() => undefined);
    this.#log = undefined;
  }

  #parseSnapshot(text: string): Snapshot {
    let parsed: Snapshot & { format: number; sha256: string };
    try {
      parsed = JSON.parse(text);
    } catch (error) {
      throw new SimError("state_corrupt", `${this.#snapshotFile} is damaged`, { cause: error });
    }
    refuseNewer(this.#snapshotFile, parsed.format);
    const { epoch, index, tables } = parsed;
    const sum = parsed.format === 1 ? sha256(String(tables)) : sumOf({ epoch, index, tables });
    if (sum !== parsed.sha256) throw new SimError("state_corrupt", `${this.#snapshotFile} is damaged`);
    return { epoch, index, tables };
  }

  /** @param before index of what the log is behind, if it has not been superseded */
  #parseLog(text: string, before: number): Entry[] {
    const entries: Entry[] = [];
    this.#end = 0;
    const lines = text.split("\n");
    for (const [number, line] of lines.entries()) {
      if (line === "" && number === lines.length - 1) break;
      const next = (entries.at(-1)?.index ?? before) + 1;
      let entry: Line;
      try {
        if (number === lines.length - 1) throw new Error("no end of line");
        entry = decode(line);
      } catch (error) {
        // What was being written when the process died stands at the end, and nobody was told that it was done.
        if (lines.slice(number + 1).every((rest) => rest === "" || isOfWrite(rest, next))) break;
        throw new SimError("state_corrupt", `${this.#logFile}:${number + 1} is damaged`, { cause: error });
      }
      refuseNewer(this.#logFile, entry.format);
      if (entries.length > 0 && entry.index !== next)
        throw new SimError(
          "state_corrupt",
          `${this.#logFile}:${number + 1}: change ${entry.index} follows ${next - 1}`,
        );
      entries.push({ epoch: entry.epoch, index: entry.index, change: entry.change });
      this.#end += Buffer.byteLength(line) + 1;
    }
    return entries;
  }
}

/** Whether the line cannot be understood either, or is of the same write as change `index`. */
function isOfWrite(line: string, index: number): boolean {
  try {
    return (decode(line).batch ?? Number.POSITIVE_INFINITY) <= index;
  } catch {
    return true;
  }
}

function encodeSnapshot(snapshot: Snapshot): string {
  const { epoch, index, tables } = snapshot;
  return `${JSON.stringify({ format: FORMAT, epoch, index, sha256: sumOf(snapshot), tables })}\n`;
}

const sumOf = ({ epoch, index, tables }: Snapshot) => sha256(`${epoch} ${index} ${tables}`);
const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

function refuseNewer(file: string, format: number): void {
  if (format > FORMAT)
    throw new SimError(
      "state_newer",
      `${file} has format ${format}, this version reads ${FORMAT}: use the newer rexray-sim`,
    );
}
