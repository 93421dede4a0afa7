import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { SimError } from "../../lib/errors.ts";

/** Runs a program to its end and answers what it printed. Throws host_failed, with what it said. */
export async function output(
  file: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<string> {
  try {
    return (await promisify(execFile)(file, [...args], { env, timeout: 60_000, maxBuffer: 64 * 1024 ** 2 })).stdout;
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    throw new SimError("host_failed", `${path.basename(file)} has failed: ${stderr?.trim() || message}`, {
      cause: error,
    });
  }
}

export const has = (program: string): boolean => spawnSync("which", [program], { stdio: "ignore" }).status === 0;

/** A server that runs until it is told to stop. */
export class Server {
  readonly #child: ChildProcess;
  #said = "";

  constructor(file: string, args: readonly string[]) {
    this.#child = spawn(file, [...args], { stdio: ["ignore", "pipe", "pipe"], cwd: "/" });
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.setEncoding("utf8").on("data", (part: string) => {
        this.#said = (this.#said + part).slice(-2000);
      });
    this.#child.on("error", (error) => {
      this.#said += error.message;
    });
  }

  /** Waits until the condition holds. Throws with what the server said when it ends before. */
  async ready(condition: () => Promise<unknown>): Promise<void> {
    for (let left = 300; ; left--) {
      if (this.#child.exitCode !== null || left === 0)
        throw new SimError("host_failed", `the database does not start: ${this.#said}`);
      const is = await condition().then(
        () => true,
        () => false,
      );
      if (is) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGINT");
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), 10_000);
    await ended;
    clearTimeout(timer);
  }
}
