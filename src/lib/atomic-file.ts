import { open, rename, unlink } from "node:fs/promises";
import path from "node:path";
import { errnoOf } from "./errors.ts";
import { makeDirectory } from "./make-directory.ts";

/** As sync-directory.ts, beside what else goes on. */
async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

let writes = 0;

/** Replaces a file in one step that survives power loss: written aside, synced, renamed. The directory is made if need be. */
export async function replaceFile(file: string, content: string): Promise<void> {
  const directory = path.dirname(file);
  makeDirectory(directory);
  // Of two at once the last one to be renamed holds; neither may write into the other's.
  const aside = path.join(directory, `.${path.basename(file)}.${process.pid}.${++writes}.new`);
  const handle = await open(aside, "w", 0o600);
  try {
    await handle.writeFile(content);
    await handle.datasync();
  } finally {
    await handle.close();
  }
  await rename(aside, file);
  await syncDirectory(directory);
}

/** Removes a file for good; a missing one is success. */
export async function removeFile(file: string): Promise<void> {
  try {
    await unlink(file);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return;
    throw error;
  }
  await syncDirectory(path.dirname(file));
}
