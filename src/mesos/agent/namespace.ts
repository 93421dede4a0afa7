import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";

/** How the namespace is made. */
export interface NamespaceOptions {
  /** mesos-executor.sh. */
  readonly executor: string;
  /** Seen inside as /run/docker/plugins: each agent has sockets of its own, and dvdcli looks nowhere else. */
  readonly pluginDir: string;
  /** Mounts below it appear and go inside as they do outside; those of other volumes do not. */
  readonly volumesDir: string;
}

/** The agent's descriptor, as a child has it. */
const CHILD_FD = 3;

/**
 * The mount namespace in which an agent's programs begin: that of a host which has its own plugins, and of all volumes only its
 * own. It is held by a descriptor, so that it goes with the agent and what the agent has started.
 */
export class Namespace {
  readonly fd: number;

  private constructor(fd: number) {
    this.fd = fd;
  }

  /** Throws what becomes the failure of tasks. */
  static async open({ executor, pluginDir, volumesDir }: NamespaceOptions): Promise<Namespace> {
    const words = ["--mount", "--propagation=slave", "sh", executor, "--base", pluginDir, volumesDir];
    const child = spawn("unshare", words, { stdio: ["pipe", "pipe", "pipe"] });
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (part: string) => (said += part));
    const ended = once(child, "close").then(
      () => {
        throw new Error(`the agent's mount namespace cannot be made: ${said.trim()}`);
      },
      (error: unknown) => {
        throw new Error(`the agent's mount namespace cannot be made: ${String(error)}`);
      },
    );
    // It says a word when all is in place, and waits for the end of its input.
    await Promise.race([once(child.stdout, "data"), ended]);
    ended.catch(() => undefined);
    const fd = fs.openSync(`/proc/${child.pid}/ns/mnt`, "r");
    child.stdin.end();
    return new Namespace(fd);
  }

  /** The words that run a program inside, in a child whose descriptors end with {@link fd}. */
  enter(words: readonly string[]): string[] {
    return ["nsenter", `--mount=/proc/self/fd/${CHILD_FD}`, "--", ...words];
  }
}
