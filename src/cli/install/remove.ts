import fs from "node:fs";
import path from "node:path";
import { errnoOf } from "../../lib/errors.ts";

/** Removes files; missing ones are success. */
export function removeFiles(root: string, files: readonly string[]): void {
  for (const file of files) fs.rmSync(path.join(root, file), { force: true });
}

/** Removes those of the directories that nobody has put anything into, from the inside out. Answers which are gone. */
export function removeEmpty(root: string, directories: readonly string[]): string[] {
  const inside = directories.toSorted((a, b) => b.length - a.length);
  return inside.filter((dir) => {
    try {
      fs.rmdirSync(path.join(root, dir));
      return true;
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return true;
      if (errnoOf(error) === "ENOTEMPTY") return false;
      throw error;
    }
  });
}
