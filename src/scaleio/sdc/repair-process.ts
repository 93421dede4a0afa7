import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { openLogFile } from "../../lib/log-file.ts";
import type { Repairs } from "./sdc-host.ts";

/** How long it is kept without an order: starting one is most of the work for a layer with little to do (ms). */
const IDLE_MS = 3_000;

/** A dot keeps it from being taken for a volume's directory. */
export const REPAIR_LOG = ".repair.log";

/** An order to an engine without a mount; it answers each with an empty line. */
export type RepairOrder =
  /** Opens the layer whose session lies in this run directory, which is its working directory from then on; `by`: the id of who says so. */
  | { readonly open: string; readonly by: number }
  /** As BlockStore.work and BlockStore.scan. */
  | { readonly work: number }
  | { readonly scan: { readonly first: number; readonly chunks: number } }
  | { readonly close: true };

/**
 * The engine without a mount, which looks after layers that are not attached: one after the other, as it is told on its standard
 * input. It ends with this process, at the end of what it is doing; being killed harms it no more than any engine.
 */
export class RepairProcess implements Repairs {
  readonly #engine: string;
  readonly #root: string;
  #child: ChildProcess | undefined;
  #ended: Promise<void> = Promise.resolve();
  #waiting: { readonly answered: () => void; readonly ended: (error: Error) => void } | undefined;
  #idle: NodeJS.Timeout | undefined;

  /**
   * @param engine the program
   * @param root where it works while it has no layer open, and where its log is
   */
  constructor(engine: string, root: string) {
    this.#engine = engine;
    this.#root = root;
  }

  async order(order: RepairOrder): Promise<void> {
    clearTimeout(this.#idle);
    const child = this.#child ?? this.#start();
    await new Promise<void>((answered, ended) => {
      this.#waiting = { answered, ended };
      child.stdin?.write(`${JSON.stringify(order)}\n`);
    });
    // One with a layer open is only waiting for its turn.
    if ("close" in order) this.#idle = setTimeout(() => void this.end(), IDLE_MS).unref();
  }

  async kill(): Promise<void> {
    this.#child?.kill("SIGKILL");
    await this.#ended;
  }

  async end(): Promise<void> {
    clearTimeout(this.#idle);
    this.#child?.stdin?.end();
    // It takes no order any more.
    this.#child = undefined;
    await this.#ended;
  }

  #start(): ChildProcess {
    const log = openLogFile(path.join(this.#root, REPAIR_LOG));
    const child = spawn(process.execPath, [this.#engine, "--repair"], {
      stdio: ["pipe", "pipe", log],
      cwd: this.#root,
    });
    fs.closeSync(log);
    this.#child = child;
    this.#ended = new Promise((resolve) => {
      const gone = (why: string) => {
        if (this.#child === child) {
          this.#child = undefined;
          this.#waiting?.ended(new Error(`the engine for layers that are not attached ${why}`));
          this.#waiting = undefined;
        }
        resolve();
      };
      child.once("error", (error) => gone(`cannot be started: ${error.message}`));
      child.once("exit", (code, signal) => gone(`has ended (${signal ?? code}): see its log`));
    });
    child.stdout?.on("data", () => {
      this.#waiting?.answered();
      this.#waiting = undefined;
    });
    // It may end while it is being told something; its end says so.
    child.stdin?.on("error", () => undefined);
    return child;
  }
}
