import { spawn } from "node:child_process";
import fs from "node:fs";
import type { FaultSpec } from "../../lib/fault.ts";
import { kill } from "../../lib/kill.ts";
import { wrapped } from "../faults/types.ts";
import type { Namespace } from "./namespace.ts";

/** How the agent calls dvdcli (spec/dvdcli.md 4.2). */
export interface DvdcliOptions {
  /** Absolute path. */
  readonly program: string;
  /** Where it runs. */
  readonly namespace: () => Promise<Namespace>;
  /** Faults that are on the agent when a call is made. */
  readonly faults: () => readonly FaultSpec[];
  readonly mountTimeoutSeconds: number;
  readonly unmountTimeoutSeconds: number;
}

/**
 * What is begun for an agent ends with it, with all that it has started itself: a mount that comes late would take the volume
 * from whoever has it by then. (The process namespace is what has the whole tree end.)
 */
const DIE_WITH_AGENT = ["setpriv", "--pdeathsig=KILL", "unshare", "--pid", "--fork", "--kill-child"];

/** Calls dvdcli. */
export class Dvdcli {
  readonly #options: DvdcliOptions;

  constructor(options: DvdcliOptions) {
    this.#options = options;
  }

  /** Throws in Mesos' words when there is no such program (spec/dvdcli.md 4.1). */
  check(): void {
    const why = cannotRun(this.#options.program);
    if (why !== undefined) throw new Error(`The 'docker/volume' isolator cannot get dvdcli command: ${why}`);
  }

  /** Answers the mount point. Throws with the text that becomes the task's failure. */
  mount(driver: string, name: string, options: Readonly<Record<string, string>>): Promise<string> {
    const words = Object.entries(options).map(([key, value]) => `--volumeopts=${key}=${value}`);
    return this.#run("mount", [driver, name], words, this.#options.mountTimeoutSeconds);
  }

  async unmount(driver: string, name: string): Promise<void> {
    await this.#run("unmount", [driver, name], [], this.#options.unmountTimeoutSeconds);
  }

  async #run(
    order: "mount" | "unmount",
    [driver, name]: [string, string],
    more: readonly string[],
    limit: number,
  ): Promise<string> {
    const { program } = this.#options;
    const namespace = await this.#options.namespace();
    const words = [program, order, `--volumedriver=${driver}`, `--volumename=${name}`, ...more];
    const failed = (why: string) => new Error(`Failed to execute '${[program, ...words].join(", ")}': ${why}`);
    // Those that it is run by would say it in words of their own.
    const why = cannotRun(program);
    if (why !== undefined) throw failed(why);
    const real = wrapped({ order, words }, this.#options.faults());
    const [enter = "", ...rest] = namespace.enter([...DIE_WITH_AGENT, ...real]);
    // The user's may lead to the machine's own sockets; the agent's are where dvdcli looks by itself.
    const { REXRAY_SIM_PLUGIN_DIR: _, ...env } = process.env;
    const child = spawn(enter, rest, {
      env,
      stdio: ["ignore", "pipe", "pipe", namespace.fd],
      // A process group of its own: when it takes too long, all of it is killed.
      detached: true,
    });
    let [out, err] = ["", ""];
    child.stdout?.setEncoding("utf8").on("data", (part: string) => (out += part));
    child.stderr?.setEncoding("utf8").on("data", (part: string) => (err += part));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        if (child.pid !== undefined) kill(-child.pid, "SIGKILL");
        reject(new Error(`'${order}' timed out in ${duration(limit)}`));
      }, limit * 1000);
      child.once("error", (error) => {
        clearTimeout(timer);
        reject(failed(error.message));
      });
      child.once("close", (status) => {
        clearTimeout(timer);
        if (status === 0) resolve(out.replace(/^[ \t\r\n]+|[ \t\r\n]+$/g, ""));
        else reject(new Error(`Unexpected termination of the subprocess: ${err}`));
      });
    });
  }
}

/** Undefined: it can be. */
function cannotRun(program: string): string | undefined {
  try {
    fs.accessSync(program, fs.constants.X_OK);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const duration = (seconds: number) => (seconds % 60 === 0 ? `${seconds / 60}mins` : `${seconds}secs`);
