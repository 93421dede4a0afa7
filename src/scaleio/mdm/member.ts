import { createHash } from "node:crypto";
import fs from "node:fs";
import { type FileHandle, open, rename } from "node:fs/promises";
import path from "node:path";
import { crc32 } from "node:zlib";
import { replaceFile } from "../../lib/atomic-file.ts";
import { errnoOf, SimError } from "../../lib/errors.ts";
import type { Change } from "../model.ts";

const FORMAT = 1;

/** One change, with its place in the history: a higher epoch wins, then a higher index. */
export interface Entry {
  readonly epoch: number;
  readonly index: number;
  /** Null: only the beginning of an epoch. */
  readonly change: Change | null;
}

/** All entries up to one, folded into a snapshot text. */
export interface Snapshot {
  readonly epoch: number;
  readonly index: number;
  readonly tables: string;
}

export interface History {
  readonly snapshot: Snapshot | undefined;
  readonly entries: readonly Entry[];
}

export const lastOf = ({ snapshot, entries }: History): { epoch: number; index: number } =>
  entries.at(-1) ?? snapshot ?? { epoch: 0, index: 0 };

/** A line of the log: checksum, a space, JSON. A line without its end, or with a wrong checksum at the end of the file, was never acknowledged. */
export function encode(entry: Entry): string {
  const text = JSON.stringify({ format: FORMAT, ...entry });
  return `${crc32(text).toString(16).padStart(8, "0")} ${text}\n`;
}

function decode(line: string): Entry & { format: number } {
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
  #log: FileHandle | undefined;
  /** Length of the log's sound part. */
  #end = 0;
  /** Why it takes no changes; "" when it does. */
  reason = "";

  constructor(directory: string) {
    this.directory = directory;
    this.name = path.basename(directory);
  }

  get #logFile(): string {
    return path.join(this.directory, "log");
  }

  get #snapshotFile(): string {
    return path.join(this.directory, "snapshot.json");
  }

  /** Undefined: the member has no files. Throws state_corrupt, state_newer, errno errors. */
  read(): History | undefined {
    const snapshotText = readIfThere(this.#snapshotFile);
    const log = readIfThere(this.#logFile);
    if (snapshotText === undefined && log === undefined) return undefined;
    const snapshot = snapshotText === undefined ? undefined : this.#parseSnapshot(snapshotText);
    // A kill between the two steps of replace() leaves a log that the new snapshot supersedes.
    const entries = this.#parseLog(log ?? "").filter(
      ({ epoch, index }) => index > (snapshot?.index ?? 0) && epoch >= (snapshot?.epoch ?? 0),
    );
    const first = entries[0];
    if (first !== undefined && first.index !== (snapshot?.index ?? 0) + 1) {
      throw new SimError(
        "state_corrupt",
        `${this.#logFile} begins with change ${first.index}, but ${this.#snapshotFile} ends with ${snapshot?.index ?? 0}`,
      );
    }
    return { snapshot, entries };
  }

  /** Opens the log for appending behind what {@link read} found. */
  async open(): Promise<void> {
    this.#log = await open(this.#logFile, "r+");
    await this.#log.truncate(this.#end);
    this.reason = "";
  }

  /** Durable when it returns. */
  async append(text: string): Promise<void> {
    if (this.#log === undefined) throw new Error("not open");
    const bytes = Buffer.from(text);
    await this.#log.write(bytes, 0, bytes.length, this.#end);
    await this.#log.datasync();
    this.#end += bytes.length;
  }

  /** Replaces everything: the snapshot first, then an empty log. A log left by a kill in between is older and ignored by its indexes. */
  async replace(snapshot: Snapshot): Promise<void> {
    await this.close();
    await replaceFile(this.#snapshotFile, encodeSnapshot(snapshot));
    await replaceFile(this.#logFile, "");
    this.#end = 0;
    await this.open();
  }

  /** Keeps files that cannot be understood, for somebody to look at. */
  async setAside(): Promise<void> {
    for (const file of [this.#logFile, this.#snapshotFile]) {
      await rename(file, `${file}.damaged`).catch((error) => {
        if (errnoOf(error) !== "ENOENT") throw error;
      });
    }
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
    let parsed: { format: number; epoch: number; index: number; sha256: string; tables: string };
    try {
      parsed = JSON.parse(text);
    } catch (error) {
      throw new SimError("state_corrupt", `${this.#snapshotFile} is damaged`, { cause: error });
    }
    refuseNewer(this.#snapshotFile, parsed.format);
    if (typeof parsed.tables !== "string" || sha256(parsed.tables) !== parsed.sha256)
      throw new SimError("state_corrupt", `${this.#snapshotFile} is damaged`);
    return { epoch: parsed.epoch, index: parsed.index, tables: parsed.tables };
  }

  #parseLog(text: string): Entry[] {
    const entries: Entry[] = [];
    this.#end = 0;
    const lines = text.split("\n");
    for (const [number, line] of lines.entries()) {
      if (line === "" && number === lines.length - 1) break;
      let entry: Entry & { format: number };
      try {
        if (number === lines.length - 1) throw new Error("no end of line");
        entry = decode(line);
      } catch (error) {
        // What was being written when the process died stands at the end, and nobody was told that it was done.
        if (lines.slice(number + 1).every((rest) => rest === "")) break;
        throw new SimError("state_corrupt", `${this.#logFile}:${number + 1} is damaged`, { cause: error });
      }
      refuseNewer(this.#logFile, entry.format);
      const before = entries.at(-1);
      if (before !== undefined && entry.index !== before.index + 1) {
        throw new SimError(
          "state_corrupt",
          `${this.#logFile}:${number + 1}: change ${entry.index} follows ${before.index}`,
        );
      }
      entries.push({ epoch: entry.epoch, index: entry.index, change: entry.change });
      this.#end += Buffer.byteLength(line) + 1;
    }
    return entries;
  }
}

function encodeSnapshot({ epoch, index, tables }: Snapshot): string {
  return `${JSON.stringify({ format: FORMAT, epoch, index, sha256: sha256(tables), tables })}\n`;
}

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

function refuseNewer(file: string, format: number): void {
  if (format > FORMAT)
    throw new SimError(
      "state_newer",
      `${file} has format ${format}, this version reads ${FORMAT}: use the newer rexray-sim`,
    );
}

function readIfThere(file: string): string | undefined {
  try {
    return fs.readFileSync(file, "utf8");
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}
