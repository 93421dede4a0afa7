import { spawnSync } from "node:child_process";
import fs from "node:fs";
import { syncDirectory } from "../../lib/sync-directory.ts";

/**
 * The file layer beneath the storage logic: synchronous, positional, whole transfers only. Injected, so that the same
 * logic runs over real files in an engine and over a simulated disk in tests. Methods throw errno errors as node:fs does.
 */
export interface Files {
  /** Opens for reading and writing; `create` makes the file (and empties nothing). `durable`: every write is on disk when it returns. */
  open(path: string, options?: { create?: boolean; durable?: boolean }): number;
  /** Reads exactly `length` bytes; what lies beyond the end of the file reads as zeros. */
  read(fd: number, into: Buffer, at: number, length: number, position: number): void;
  write(fd: number, from: Buffer, at: number, length: number, position: number): void;
  datasync(fd: number): void;
  /** As {@link datasync}, for this range only: what else was written to the file may go on waiting. */
  syncRange(fd: number, position: number, length: number): void;
  /**
   * Gives up what is in memory of the file and is not to be written any more, so that it is read from the disk: after a sync
   * that failed Linux may have there what the disk has not.
   */
  refresh(fd: number): void;
  /** Gives the range back to the file system; it reads as zeros afterwards. */
  punch(fd: number, position: number, length: number): void;
  /** Sets the file's size; a longer file gets a hole. */
  resize(fd: number, bytes: number): void;
  /** Bytes that the file really occupies. */
  allocated(fd: number): number;
  close(fd: number): void;
  exists(path: string): boolean;
  /** Makes the names of files that were made in a directory survive power loss. */
  syncDirectory(path: string): void;
}

const O = fs.constants;

/** The transfers as a kernel has them: they may be short, and answer how many bytes were done. Throw errno errors. */
export interface Transfers {
  /** 0: the end of the file. */
  read(fd: number, into: Buffer, at: number, length: number, position: number): number;
  write(fd: number, from: Buffer, at: number, length: number, position: number): number;
}

/** Whole transfers, out of those that may be short. */
export function whole({ read, write }: Transfers): Pick<Files, "read" | "write"> {
  return {
    read(fd, into, at, length, position) {
      for (let done = 0; done < length; ) {
        const n = read(fd, into, at + done, length - done, position + done);
        if (n === 0) {
          into.fill(0, at + done, at + length);
          return;
        }
        done += n;
      }
    },

    write(fd, from, at, length, position) {
      for (let done = 0; done < length; ) {
        const n = write(fd, from, at + done, length - done, position + done);
        // No file system should; it would be asked for ever.
        if (n === 0)
          throw Object.assign(new Error(`EIO: of ${length - done} bytes none were written`), { code: "EIO" });
        done += n;
      }
    },
  };
}

/**
 * Written in one piece, a MiB becomes one folio of the page cache, and ext4 looks at all its blocks for each 4 KiB that are
 * written into it later: half of an engine's time under random writes (Linux 6.18, data path benchmark). Of 64 KiB, 32 and 16 in
 * turns, 32 cost 1 MiB writes nothing and gave random ones 17 % more than 64; 16 gave these no more and cost the others a third.
 */
const MOST_AT_ONCE = 32 * 1024;

/** What {@link Files.syncRange} passes through; made when it is first needed. */
let passing = Buffer.alloc(0);

/** Real files. */
export const nodeFiles: Files = {
  open(path, { create = false, durable = false } = {}) {
    return fs.openSync(path, O.O_RDWR | (create ? O.O_CREAT : 0) | (durable ? O.O_DSYNC : 0), 0o600);
  },

  ...whole({
    read: fs.readSync,
    write: (fd, from, at, length, position) => fs.writeSync(fd, from, at, Math.min(length, MOST_AT_ONCE), position),
  }),

  datasync: (fd) => fs.fdatasyncSync(fd),

  // Node cannot sync a range; writing it again to a descriptor that syncs does that. The page cache keeps its pieces: they are there.
  syncRange(fd, position, length) {
    if (passing.length < length) passing = Buffer.alloc(length);
    nodeFiles.read(fd, passing, 0, length, position);
    const syncing = fs.openSync(`/proc/self/fd/${fd}`, O.O_WRONLY | O.O_DSYNC);
    try {
      for (let done = 0; done < length; ) done += fs.writeSync(syncing, passing, done, length - done, position + done);
    } finally {
      fs.closeSync(syncing);
    }
  },

  // Node has no punch-hole call, so util-linux does it on the very descriptor (data-path.md, "Requests that matter").
  punch(fd, position, length) {
    const args = ["--punch-hole", "--offset", String(position), "--length", String(length), "/dev/fd/3"];
    const { status, error, stderr } = spawnSync("fallocate", args, { stdio: ["ignore", "ignore", "pipe", fd] });
    if (status !== 0) throw error ?? new Error(`fallocate ${args.join(" ")}: ${String(stderr).trim()}`);
  },

  // Nor has it posix_fadvise; writing nothing, dd gives that advice for the whole file.
  refresh(fd) {
    const args = ["if=/dev/null", "of=/dev/fd/3", "oflag=nocache", "conv=notrunc", "count=0", "status=none"];
    const { status, error, stderr } = spawnSync("dd", args, { stdio: ["ignore", "ignore", "pipe", fd] });
    if (status !== 0) throw error ?? new Error(`dd ${args.join(" ")}: ${String(stderr).trim()}`);
  },

  resize: (fd, bytes) => fs.ftruncateSync(fd, bytes),
  allocated: (fd) => fs.fstatSync(fd).blocks * 512,
  close: (fd) => fs.closeSync(fd),
  exists: (path) => fs.existsSync(path),
  syncDirectory,
};
