import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";

/** Something that a test or a run left on the machine. */
export interface Leak {
  readonly kind: "process" | "mount" | "loop device" | "socket" | "file";
  /** Names it, with what tells where it came from. */
  readonly what: string;
  /** Takes it away by force. Best effort. */
  remove(): void;
}

/** How to know one's own things among those of everybody else on the machine. */
export interface Scope {
  /** Directory below which everything of ours lies: named by mounts, backing files, sockets and command lines. */
  readonly dir: string;
  /** An environment entry (`NAME=value`) that all our processes inherit, for those whose command line tells nothing. */
  readonly mark?: string;
  /** Whether a plugin of that name is ours. */
  readonly plugin?: (name: string) => boolean;
  /** What was there before, and so is not ours. */
  readonly before?: Baseline;
}

/** Loop devices, each with its file. */
export type Baseline = ReadonlySet<string>;

const PLUGIN_DIR = "/run/docker/plugins";

/** Notes what is on the machine now. */
export const baseline = (): Baseline => new Set(loops().map(loopKey));

/**
 * What of ours is still there, in the order in which it is best removed. Throws when the directory is so high up that
 * others could have something below it: what is found may be killed.
 */
export function findLeaks(scope: Scope): Leak[] {
  if (!/^(?:\/[^/]+){2,}$/.test(scope.dir)) throw new Error(`not a directory of our own: "${scope.dir}"`);
  return [...processLeaks(scope), ...mountLeaks(scope), ...loopLeaks(scope), ...socketLeaks(scope)];
}

/** Removes by force all that is ours, also what appears meanwhile: a supervisor starts its engine again. */
export function removeLeaks(scope: Scope): void {
  for (let round = 0; round < 20; round++) {
    const leaks = findLeaks(scope);
    if (leaks.length === 0) return;
    for (const leak of leaks) leak.remove();
    // What was killed needs a moment to be gone.
    spawnSync("sleep", ["0.05"]);
  }
}

function processLeaks({ dir, mark }: Scope): Leak[] {
  const leaks: Leak[] = [];
  for (const pid of fs
    .readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)) {
    if (pid === process.pid) continue;
    const words = read(`/proc/${pid}/cmdline`).split("\0");
    // Empty: a kernel thread or a zombie, which holds nothing.
    if (words.join("") === "") continue;
    const named = words.some((word) => word.split(/[=:]/).some((part) => inside(part.replace(/^\/\//, "/"), dir)));
    const marked = mark !== undefined && read(`/proc/${pid}/environ`).split("\0").includes(mark);
    if (!named && !marked && !rootedIn(pid, dir)) continue;
    leaks.push({ kind: "process", what: `${pid}: ${words.join(" ").trim()}`, remove: () => kill(pid) });
  }
  return leaks;
}

/** Whether the process's root file system lies below the directory: a container of an engine that is gone. */
function rootedIn(pid: number, dir: string): boolean {
  const root = read(`/proc/${pid}/mountinfo`)
    .split("\n")
    .find((line) => line.split(" ")[4] === "/");
  return root?.split(" - ")[1]?.includes(`=${dir}/`) ?? false;
}

/** Innermost first: the kernel lists a mount after the one it lies on. */
function mountLeaks({ dir }: Scope): Leak[] {
  return mounts()
    .filter((mount) => inside(mount.point, dir))
    .reverse()
    .map(({ point, type, source }) => ({
      kind: "mount",
      what: `${point} (${type} from ${source})`,
      remove: () => void spawnSync("umount", ["--lazy", point], { timeout: 10_000 }),
    }));
}

/**
 * A block file is a mount of its own: when that has been torn from under the loop device, "/" is all that the kernel has
 * to say of the file. Nobody else does such things.
 */
function loopLeaks({ dir, before }: Scope): Leak[] {
  const torn = (loop: Loop) => loop.file === "/" && before !== undefined && !before.has(loopKey(loop));
  return loops()
    .filter((loop) => inside(loop.file, dir) || torn(loop))
    .map((loop) => ({
      kind: "loop device",
      what: `${loop.device} on ${loop.file}`,
      remove: () => void spawnSync("losetup", ["--detach", loop.device], { timeout: 10_000 }),
    }));
}

function socketLeaks({ plugin }: Scope): Leak[] {
  if (plugin === undefined || !fs.existsSync(PLUGIN_DIR)) return [];
  return fs
    .readdirSync(PLUGIN_DIR)
    .filter((name) => plugin(path.basename(name, ".sock")))
    .map((name) => path.join(PLUGIN_DIR, name))
    .map((file) => ({ kind: "socket", what: file, remove: () => fs.rmSync(file, { force: true }) }));
}

interface Mount {
  readonly point: string;
  readonly type: string;
  readonly source: string;
}

/** proc_pid_mountinfo(5); blanks and the like are written as octal escapes. */
function mounts(): Mount[] {
  const plain = (text = "") =>
    text.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
  return read("/proc/self/mountinfo")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [head = "", tail = ""] = line.split(" - ");
      const [type = "", source] = tail.split(" ");
      return { point: plain(head.split(" ")[4]), type, source: plain(source) };
    });
}

interface Loop {
  readonly device: string;
  readonly file: string;
}

function loops(): Loop[] {
  return fs
    .readdirSync("/sys/block")
    .filter((name) => name.startsWith("loop"))
    .map((name) => ({
      device: `/dev/${name}`,
      file: read(`/sys/block/${name}/loop/backing_file`)
        .trimEnd()
        .replace(/ \(deleted\)$/, ""),
    }))
    .filter((loop) => loop.file !== "");
}

const loopKey = (loop: Loop) => `${loop.device} ${loop.file}`;

const inside = (file: string, dir: string) => file === dir || file.startsWith(`${dir}/`);

/** Empty when it cannot be read: the process or device has gone meanwhile. */
function read(file: string): string {
  try {
    return fs.readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended by itself.
  }
}
