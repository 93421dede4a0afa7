import { SimError } from "../lib/errors.ts";
import { type RunOptions, run, runForBytes } from "./exec.ts";

export type FsType = "ext4" | "xfs";

/** Enough for the magic numbers of all three file systems that are told apart. */
const PROBE_BYTES = 128 * 1024;

const MAGICS = [
  { type: "xfs", at: 0, bytes: Buffer.from("XFSB") },
  { type: "ext4", at: 0x438, bytes: Buffer.from([0x53, 0xef]) },
  { type: "btrfs", at: 0x10040, bytes: Buffer.from("_BHRfS_M") },
] as const;

/** What is on a device. */
export interface Found {
  readonly type: (typeof MAGICS)[number]["type"] | "empty" | "unknown";
  /** How much of the device the file system takes; 0 where that is not known. */
  readonly bytes: number;
}

/**
 * What a device's first bytes are: a file system (spec/rexray.md 6), "empty" when they are all zero, "unknown" otherwise.
 * Read by a tool, since a device that hangs must not take a thread of this process with it.
 */
export async function probe(device: string, options: RunOptions = {}): Promise<Found> {
  const head = await runForBytes(
    "dd",
    [`if=${device}`, `bs=${PROBE_BYTES}`, "count=1", "iflag=fullblock", "status=none"],
    options,
  );
  const found = MAGICS.find(({ at, bytes }) => head.subarray(at, at + bytes.length).equals(bytes));
  if (found !== undefined) return { type: found.type, bytes: sizeOf(found.type, head) };
  return { type: head.every((byte) => byte === 0) ? "empty" : "unknown", bytes: 0 };
}

/** From the superblock: its number of blocks and their size. */
function sizeOf(type: Found["type"], head: Buffer): number {
  if (type === "xfs") return Number(head.readBigUInt64BE(8)) * head.readUInt32BE(4);
  if (type !== "ext4") return 0;
  const has64bit = (head.readUInt32LE(0x460) & 0x80) !== 0;
  const blocks = head.readUInt32LE(0x404) + (has64bit ? head.readUInt32LE(0x550) * 2 ** 32 : 0);
  return blocks * 1024 * 2 ** head.readUInt32LE(0x418);
}

/**
 * Lets a mounted file system take all of its device, which has become larger. False: the kernel does not let this process
 * grow a mounted ext4 (it wants CAP_SYS_RESOURCE, which containers lack); {@link growUnmounted} does it without the kernel.
 */
export async function growFileSystem(
  device: string,
  directory: string,
  type: string,
  options: RunOptions = {},
): Promise<boolean> {
  try {
    if (type === "xfs") await run("xfs_growfs", [directory], options);
    else await run("resize2fs", [device], options);
    return true;
  } catch (error) {
    if (type !== "xfs" && error instanceof SimError && /Permission denied/.test(error.message)) return false;
    throw error;
  }
}

/** The same for an ext4 that is not mounted. It is checked first: resize2fs insists on that. */
export async function growUnmounted(device: string, options: RunOptions = {}): Promise<void> {
  await run("e2fsck", ["-f", "-p", device], options);
  await run("resize2fs", [device], options);
}

/**
 * Makes a file system, whatever is on the device. What mkfs discards reads as zeros on our devices, and what is `blank` does
 * already; so an ext4 journal need not be written: that alone would take 128 MiB of a thin volume of 16 GiB.
 */
export async function makeFileSystem(
  device: string,
  type: FsType,
  { blank = false, ...options }: RunOptions & { blank?: boolean } = {},
): Promise<void> {
  if (type === "ext4") {
    const features = `lazy_itable_init=1,lazy_journal_init=1${blank ? ",nodiscard" : ""}`;
    await run("mkfs.ext4", ["-F", "-q", "-E", features, device], options);
  } else await run("mkfs.xfs", ["-f", "-q", ...(blank ? ["-K"] : []), device], options);
}

/** Mounts it; a journal is replayed by that. xfs refuses a second file system of the same UUID, as a copy is, unless told not to. */
export async function mountFileSystem(
  device: string,
  directory: string,
  type: string,
  options: RunOptions = {},
): Promise<void> {
  await run("mount", ["-t", type, ...(type === "xfs" ? ["-o", "nouuid"] : []), device, directory], options);
}

/** Writes down what a mounted file system holds in memory. */
export async function syncFileSystem(directory: string, options: RunOptions = {}): Promise<void> {
  await run("sync", ["--file-system", directory], options);
}

/** Throws in_use when somebody in this namespace is inside. */
export async function unmountFileSystem(directory: string, { lazy }: { lazy: boolean }): Promise<void> {
  try {
    await run("umount", [...(lazy ? ["--lazy"] : []), directory]);
  } catch (error) {
    if (error instanceof SimError && /busy/.test(error.message)) {
      throw new SimError(
        "in_use",
        `${directory} is busy: a process works in it (\`fuser -vm ${directory}\` names it)`,
        { cause: error },
      );
    }
    throw error;
  }
}

/** Makes a directory and its parents; the mode is for a new last one only. By a tool: it may lie on a volume. */
export async function makeDirectory(directory: string, mode: number, options: RunOptions = {}): Promise<void> {
  await run("mkdir", ["--parents", `--mode=${mode.toString(8)}`, directory], options);
}

/** By a tool, as above. */
export async function setMode(file: string, mode: number, options: RunOptions = {}): Promise<void> {
  await run("chmod", [mode.toString(8), file], options);
}

/** Where paths lead, symbolic links followed; what is missing stands for itself. By a tool, as above. */
export async function resolvePaths(paths: readonly string[], options: RunOptions = {}): Promise<string[]> {
  const found = await run("realpath", ["--canonicalize-missing", "--zero", "--", ...paths], options);
  return found.split("\0").slice(0, -1);
}
