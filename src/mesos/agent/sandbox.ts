import fs from "node:fs";
import path from "node:path";
import type { User } from "./users.ts";

/*
 * What is in a sandbox is the task's, or comes from an archive of anybody's: a symbolic link there must not have the agent,
 * which is root, make or write something elsewhere.
 */

/** A directory of the sandbox, made if need be. Throws what becomes the task's failure when it leads out of the sandbox. */
export function directoryInside(sandbox: string, relative: string): string {
  const target = path.join(sandbox, relative);
  const root = fs.realpathSync(sandbox);
  let at = sandbox;
  for (const part of path.relative(sandbox, target).split("/").filter(Boolean)) {
    at = path.join(at, part);
    if (part !== ".." && fs.lstatSync(at, { throwIfNoEntry: false }) === undefined) fs.mkdirSync(at);
    if (part === ".." || !isBelow(realOf(at), root))
      throw new Error(`'${relative}' leads out of the sandbox: use a path without .. and without links that do`);
  }
  return target;
}

/** Opens a task's standard output or error for its agent. What has been put in the file's place is not written to. */
export function openOutput(sandbox: string, name: "stdout" | "stderr"): number {
  const { O_WRONLY, O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
  try {
    // Nobody may read a pipe that somebody has put there.
    const flags = O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK;
    const fd = fs.openSync(path.join(sandbox, name), flags, 0o644);
    if (fs.fstatSync(fd).isFile()) return fd;
    fs.closeSync(fd);
  } catch {
    // A link, a pipe, a directory: the task has lost its output, and goes on.
  }
  return fs.openSync("/dev/null", "a");
}

const isBelow = (real: string, root: string) => real.startsWith(`${root}/`);

/** A link that leads to nothing leads nowhere inside. */
function realOf(file: string): string {
  try {
    return fs.realpathSync(file);
  } catch {
    return "";
  }
}

/** Lines of the executor, in the task's standard output. */
export function sayAsExecutor(sandbox: string, lines: readonly string[]): void {
  const fd = openOutput(sandbox, "stdout");
  fs.writeSync(fd, lines.map((line) => `${line}\n`).join(""));
  fs.closeSync(fd);
}

/** Makes all of a sandbox a user's. */
export function giveTo(sandbox: string, { uid, gid }: User): void {
  for (const name of fs.readdirSync(sandbox, { recursive: true, encoding: "utf8" }))
    fs.lchownSync(path.join(sandbox, name), uid, gid);
  fs.chownSync(sandbox, uid, gid);
}
