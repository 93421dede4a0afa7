import { mkdirSync } from "node:fs";
import { run } from "./exec.ts";
import { mountsOf } from "./mountinfo.ts";

const isMounted = (directory: string) => mountsOf(({ mountpoint }) => mountpoint === directory).length > 0;

/**
 * Makes a directory a mount of its own whose mounts are seen, and are gone again, in all namespaces that follow this one
 * (mount_namespaces(7)): also where the machine's root is private, as in containers. Idempotent.
 */
export async function shareDirectory(directory: string): Promise<void> {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (isMounted(directory)) return;
  await run("mount", ["--bind", directory, directory]);
  await run("mount", ["--make-shared", directory]);
}

/** Takes it back. Idempotent. Throws when something is still mounted below. */
export async function unshareDirectory(directory: string): Promise<void> {
  if (isMounted(directory)) await run("umount", [directory]);
}
