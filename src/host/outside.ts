import path from "node:path";
import type { Mount } from "./mountinfo.ts";

/**
 * What one of a container's mount points is called outside of it: a mount there shows the same directory of the same file
 * system, and nothing is mounted over it. Undefined when the outside does not show it.
 *
 * @param own the mounts of the container
 * @param outside those of a process outside
 */
export function outsideOf(directory: string, own: readonly Mount[], outside: readonly Mount[]): string | undefined {
  const here = own.findLast(({ mountpoint }) => mountpoint === directory);
  if (here === undefined) return undefined;
  const leadsThere = (name: string) => {
    const mount = mountOf(name, outside);
    return mount?.device === here.device && path.join(mount.root, path.relative(mount.mountpoint, name)) === here.root;
  };
  return outside
    .filter(({ device, root }) => device === here.device && isBelow(here.root, root))
    .map(({ root, mountpoint }) => path.join(mountpoint, path.relative(root, here.root)))
    .find(leadsThere);
}

/** The mount that a path leads to: the deepest one, of several at one place the last. */
function mountOf(name: string, mounts: readonly Mount[]): Mount | undefined {
  return mounts
    .filter(({ mountpoint }) => isBelow(name, mountpoint))
    .toSorted((a, b) => a.mountpoint.length - b.mountpoint.length)
    .at(-1);
}

const isBelow = (name: string, directory: string) =>
  name === directory || name.startsWith(directory.endsWith("/") ? directory : `${directory}/`);
