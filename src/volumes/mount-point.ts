import { chmod, lstat, mkdir, stat } from "node:fs/promises";
import path from "node:path";
import { errnoOf, SimError } from "../lib/errors.ts";

/**
 * A mount follows a symbolic link in its mount point's place: somebody who put one there would have the volume appear where
 * he likes, over another directory, and nobody would find it again to unmount it. Throws host_failed when something else than
 * a directory is there.
 */
export async function checkMountPoint(volume: string, directory: string): Promise<void> {
  const found = await lstat(directory).catch((error: unknown) => {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  });
  if (found === undefined || found.isDirectory()) return;
  const what = found.isSymbolicLink() ? "a symbolic link, which is not followed" : "no directory";
  throw new SimError(
    "host_failed",
    `volume ${volume} cannot be mounted: ${directory} is ${what}: look who put it there, and remove it`,
  );
}

/**
 * Makes the directory, and what is above it. Throws as {@link checkMountPoint} does. The way there is root's, as Docker's own
 * way to its volumes is: a container's root may put a setuid program into a volume, which works in containers, and which the
 * machine's other users must not come to. Who binds volumes into containers is root.
 */
export async function makeMountPoint(volume: string, directory: string): Promise<void> {
  await mkdir(path.dirname(directory), { recursive: true, mode: 0o700 });
  await mkdir(directory, { mode: 0o755 }).catch((error: unknown) => {
    if (errnoOf(error) !== "EEXIST") throw error;
  });
  await checkMountPoint(volume, directory);
}

/** Older versions left the way open. A mode that somebody else has given it is his to know. */
export async function closeMountPath(directory: string): Promise<void> {
  const found = await stat(directory).catch(() => undefined);
  if (found !== undefined && (found.mode & 0o777) === 0o755) await chmod(directory, 0o700);
}
