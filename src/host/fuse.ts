import { closeSync, constants, openSync } from "node:fs";
import { errnoOf, SimError } from "../lib/errors.ts";
import { run } from "./exec.ts";

const OPTIONS = "rootmode=100000,user_id=0,group_id=0,allow_other,default_permissions";

/**
 * Mounts a FUSE file system whose root is one regular file over an existing file (data-path.md, "Mounting FUSE without
 * native code"). Answers the open descriptor of /dev/fuse; who serves it must hold it, the caller closes it.
 * `source` is what the mount table shows.
 */
export async function mountFuseFile(file: string, source: string): Promise<number> {
  let fd: number;
  try {
    fd = openSync("/dev/fuse", constants.O_RDWR);
  } catch (error) {
    const remedy = errnoOf(error) === "EACCES" ? "run as root" : "load the kernel module: `modprobe fuse`";
    throw new SimError("host_failed", `/dev/fuse cannot be opened (${errnoOf(error)}): ${remedy}`, { cause: error });
  }
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
