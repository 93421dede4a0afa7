import { closeSync } from "node:fs";
import { openDevice } from "./device-node.ts";
import { run } from "./exec.ts";

const OPTIONS = "rootmode=100000,user_id=0,group_id=0,allow_other,default_permissions";

/**
 * Mounts a FUSE file system whose root is one regular file over an existing file (data-path.md, "Mounting FUSE without
 * native code"). Answers the open descriptor of /dev/fuse; who serves it must hold it, the caller closes it.
 * `source` is what the mount table shows.
 */
export async function mountFuseFile(file: string, source: string): Promise<number> {
  const fd = openDevice("/dev/fuse");
  try {
    await run("mount", ["-i", "-t", "fuse", "-o", `fd=3,${OPTIONS}`, source, file], { fd });
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** `lazy`: out of this namespace at once, really gone when the last user is. */
export async function unmountFuseFile(file: string, { lazy }: { lazy: boolean }): Promise<void> {
  await run("umount", lazy ? ["--lazy", file] : [file]);
}
