import fs from "node:fs";
import { type FileHandle, link, open, rm } from "node:fs/promises";
import { replaceFile } from "../../lib/atomic-file.ts";
import { errnoOf } from "../../lib/errors.ts";

/** A log, open for writing at any place. Writes may be short, as a full disk makes them. */
export type LogFile = Pick<FileHandle, "write" | "datasync" | "truncate" | "sync" | "close">;

/**
 * The file layer beneath the MDM's members; injected, so that tests can kill the process between any two steps and take what
 * was not synced away. Methods throw errno errors as node:fs does.
 */
export interface MemberFiles {
  /** All of a file; undefined when there is none. */
  read(file: string): string | undefined;
  /** In one step that survives power loss; directories are made as need be. */
  replace(file: string, content: string): Promise<void>;
  /** A file that is there. */
  open(file: string): Promise<LogFile>;
  /** Gives what a file holds now another name too, under which it stays when the file is replaced. Nothing where there is none. */
  keep(file: string, as: string): Promise<void>;
}

/** Real files. */
export const nodeMemberFiles: MemberFiles = {
  read(file) {
    try {
      return fs.readFileSync(file, "utf8");
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return undefined;
      throw error;
    }
  },
  replace: replaceFile,
  open: (file) => open(file, "r+"),
  async keep(file, as) {
    await rm(as, { force: true });
    await link(file, as).catch((error) => {
      if (errnoOf(error) !== "ENOENT") throw error;
    });
  },
};
