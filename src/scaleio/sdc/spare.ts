import fs from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { SdcHost } from "./sdc-host.ts";

/** A dot keeps it from being taken for a volume's directory. */
const SPARE = ".spare";
/** How long nobody must have asked for one before the next is made ready: starting it takes a processor. */
const QUIET_MS = 50;

/**
 * One engine kept ready: mounted, started and waiting for a session, because starting Node is most of the time that a
 * mount takes. Whoever attaches a volume next gives it the session and renames its directory. Nothing depends on it.
 */
export class Spare {
  readonly #dir: string;
  readonly #host: Pick<SdcHost, "startEngine" | "worksIn">;
  readonly #discard: (dir: string) => Promise<boolean>;
  readonly #stop = new AbortController();
  #supervisor: number | undefined;
  #taken = 0;
  #making: Promise<void> | undefined;

  /**
   * @param root the directory of all run directories
   * @param discard unmounts a run directory, waits for its processes and removes it
   */
  constructor(
    root: string,
    host: Pick<SdcHost, "startEngine" | "worksIn">,
    discard: (dir: string) => Promise<boolean>,
  ) {
    this.#dir = path.join(root, SPARE);
    this.#host = host;
    this.#discard = discard;
  }

  /** Moves the spare to this directory, which must not exist. False when there is none that lives. */
  take(dir: string, prepare: (dir: string) => void): boolean {
    const supervisor = this.#supervisor;
    this.#supervisor = undefined;
    this.#taken++;
    const lives = supervisor !== undefined && this.#host.worksIn(supervisor, this.#dir);
    if (lives) {
      prepare(this.#dir);
      fs.renameSync(this.#dir, dir);
    }
    void this.refill();
    return lives;
  }

  /** Makes one ready in the background, once things are quiet. What a former daemon left is cleared away first. */
  refill(): Promise<void> {
    this.#making ??= this.#make().finally(() => {
      this.#making = undefined;
    });
    return this.#making;
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#making;
    this.#supervisor = undefined;
    await this.#discard(this.#dir);
  }

  async #make(): Promise<void> {
    try {
      for (let before = -1; before !== this.#taken; ) {
        before = this.#taken;
        await pause(QUIET_MS, undefined, { signal: this.#stop.signal });
      }
      if (!(await this.#discard(this.#dir))) return;
      fs.mkdirSync(this.#dir, { mode: 0o700 });
      this.#supervisor = await this.#host.startEngine(this.#dir);
    } catch {
      // Attaching works without a spare, and says then what is wrong.
    }
  }
}
