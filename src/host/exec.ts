import { spawn } from "node:child_process";
import { SimError } from "../lib/errors.ts";

/** The tools that are run, with their Debian packages, for the remedy when one is missing. */
export const PACKAGES: Readonly<Record<string, string>> = {
  losetup: "mount",
  mount: "mount",
  umount: "mount",
  "mkfs.ext4": "e2fsprogs",
  "mkfs.xfs": "xfsprogs",
  blkid: "util-linux",
  fallocate: "util-linux",
  fsfreeze: "util-linux",
  e2fsck: "e2fsprogs",
  resize2fs: "e2fsprogs",
  xfs_growfs: "xfsprogs",
  dd: "coreutils",
  sync: "coreutils",
  mkdir: "coreutils",
  chmod: "coreutils",
  realpath: "coreutils",
};

/** How long a killed tool may take to end. */
const END_MS = 2_000;

export interface RunOptions {
  /** The tool is killed after this long. Default 60 s: below Docker's limit for a mount. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
  /** A descriptor that the tool gets as its fd 3. */
  readonly fd?: number;
}

/**
 * Runs a tool of the system without a shell and answers its standard output. Throws host_failed (with the tool's own
 * words, or the package to install), timed_out, cancelled.
 */
export async function run(file: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  return (await runForBytes(file, args, options)).toString();
}

/** As {@link run}, for output that is not text. */
export async function runForBytes(file: string, args: readonly string[], options: RunOptions = {}): Promise<Buffer> {
  const { timeoutMs = 60_000, signal, fd } = options;
  const command = [file, ...args].join(" ");
  if (signal?.aborted) throw new SimError("cancelled", `${command}: not run, the caller went away`);
  const child = spawn(file, args, { stdio: ["ignore", "pipe", "pipe", ...(fd === undefined ? [] : [fd])] });
  let late = false;
  let giveUp: NodeJS.Timeout | undefined;
  let stopWaiting = () => {};
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout?.on("data", (data: Buffer) => out.push(data));
  child.stderr?.on("data", (data: Buffer) => err.push(data));
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
    stopWaiting = () => resolve(null);
  });
  const kill = () => {
    child.kill("SIGKILL");
    // A tool that waits in the kernel for a dead device cannot be killed. Nobody waits for it then.
    giveUp ??= setTimeout(() => {
      child.stdout?.destroy();
      child.stderr?.destroy();
      child.unref();
      stopWaiting();
    }, END_MS);
  };
  const timer = setTimeout(() => {
    late = true;
    kill();
  }, timeoutMs);
  signal?.addEventListener("abort", kill, { once: true });
  try {
    const status = await ended;
    if (status === 0) return Buffer.concat(out);
    if (late) throw new SimError("timed_out", `${command}: no end after ${timeoutMs / 1000} s`);
    if (signal?.aborted) throw new SimError("cancelled", `${command}: stopped, the caller went away`);
    const words = Buffer.concat(err).toString().trim() || `ended with status ${status}`;
    throw new SimError("host_failed", `${command}: ${words}`);
  } catch (error) {
    if (error instanceof SimError) throw error;
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    const remedy = missing ? `: ${file} is missing, install the package ${PACKAGES[file] ?? file}` : "";
    throw new SimError("host_failed", `${command} cannot be run${remedy}`, { cause: error });
  } finally {
    clearTimeout(timer);
    clearTimeout(giveUp);
    signal?.removeEventListener("abort", kill);
  }
}
