import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import type { Test } from "tap";

/** How long one call may take (ms). */
const LIMIT = 60_000;

/**
 * A command for a new mount namespace: lets go of the volumes of everybody else, which would stay in use there.
 * @param own a directory, quoted for a shell, below which they are kept
 */
export const letGoOfVolumes = (own = "none") =>
  `awk -v own=${own} '/ - (fuse|[^ ]+ [/]dev[/]loop)/ && index($5, own "/") != 1 { print $5 }' /proc/self/mountinfo |
  while read -r place; do umount --lazy "$place"; done`;

/**
 * A shell with mounts of its own, for thousands of short commands: entering its mounts for each takes twice as long. What it mounts
 * nobody else sees, so no namespace that is made meanwhile keeps it; it is gone when the shell ends, and that ends with the test in
 * whatever way. A file system that is mounted below the one with its image keeps that for ever, though, and is kept by it.
 */
export class Shell {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #ended: Promise<never>;
  #said = "";
  #look: () => void = () => undefined;

  constructor(t: Test) {
    this.#child = spawn("unshare", ["--mount", "bash"], { stdio: ["pipe", "pipe", "inherit"] });
    const ended = new Promise<string>((resolve, reject) => {
      this.#child.once("error", reject);
      this.#child.once("close", (code, signal) => resolve(`status ${code ?? signal}`));
    });
    this.#ended = ended.then((how) => Promise.reject(new Error(`the shell ended with ${how} and said: ${this.#said}`)));
    this.#ended.catch(() => undefined);
    this.#child.stdin.on("error", () => undefined);
    this.#child.stdout.setEncoding("utf8").on("data", (part: string) => {
      this.#said += part;
      this.#look();
    });
    this.#child.stdin.write(`${letGoOfVolumes()}\n`);
    t.teardown(async () => {
      this.#child.stdin.end();
      await ended;
    });
  }

  /** Runs commands, one after the other, and answers the last one's status and what all wrote to both streams. One call at a time. */
  async run(commands: string): Promise<{ readonly code: number; readonly said: string }> {
    this.#said = "";
    const end = /^(.*)\n@end (\d+)\n$/s;
    const done = new Promise<RegExpExecArray>((resolve) => {
      this.#look = () => {
        const match = end.exec(this.#said);
        if (match !== null) resolve(match);
      };
    });
    this.#child.stdin.write(`{ ${commands}\n} </dev/null 2>&1; echo $'\\n'"@end $?"\n`);
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), LIMIT);
    const [, said = "", code] = await Promise.race([done, this.#ended]).finally(() => clearTimeout(timer));
    return { code: Number(code), said };
  }

  /** Runs commands of which the last one must succeed, and returns what they wrote. */
  async output(commands: string): Promise<string> {
    const { code, said } = await this.run(commands);
    if (code !== 0) throw new Error(`${commands} ended with status ${code}\n${said}`);
    return said;
  }

  /** Where a file that the shell sees is for everybody else. */
  path(file: string): string {
    return `/proc/${this.#child.pid}/root${file}`;
  }
}
