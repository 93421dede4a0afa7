import type { Dirs } from "../lib/dirs.ts";
import { SimError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { EarlySockets } from "./early-sockets.ts";
import { type HeldDir, holdDir } from "./lock.ts";
import type { OpenParts, Parts } from "./parts.ts";

export interface CoreOptions {
  readonly dirs: Dirs;
  readonly env: NodeJS.ProcessEnv;
  readonly log: Log;
  readonly openParts: OpenParts;
  readonly early?: EarlySockets | undefined;
  readonly lost: (error: Error) => void;
}

/** The daemon without its sockets: the directories held, the parts open on them. */
export class Core {
  readonly #held: readonly HeldDir[];
  readonly #log: Log;

  private constructor(
    readonly dirs: Dirs,
    readonly parts: Parts,
    held: readonly HeldDir[],
    log: Log,
  ) {
    this.#held = held;
    this.#log = log;
  }

  /** Throws in_use when a daemon has one of the directories, and what the parts throw. Nothing stays held then. */
  static async open({ dirs, env, log, openParts, early, lost }: CoreOptions): Promise<Core> {
    const { stateDir, runDir } = dirs;
    if (stateDir === runDir) {
      throw new SimError(
        "invalid_argument",
        `the state and the run directory are both ${runDir}: give them different ones`,
      );
    }
    const held: HeldDir[] = [];
    try {
      // Agents' sandboxes lie in the state directory, and tasks' users have to pass through it; what else is there is not theirs to see.
      held.push(await holdDir(stateDir, { what: "state directory", flag: "--state-dir", mode: 0o711, runDir, lost }));
      held.push(await holdDir(runDir, { what: "run directory", flag: "--run-dir", mode: 0o700, runDir, lost }));
      return new Core(dirs, await openParts({ dirs, env, log, early }), held, log);
    } catch (error) {
      await releaseAll(held);
      throw error;
    }
  }

  get warnings(): readonly string[] {
    return this.parts.warnings;
  }

  /**
   * Looks after the volumes of a former run. One that takes long (a check of a large file system) must not keep the others
   * from being served, so after `limit` ms it goes on in the background.
   */
  async reconcile(limit: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<"late">((resolve) => (timer = setTimeout(resolve, limit, "late")));
    const work = this.parts.volumes.reconcile();
    try {
      if ((await Promise.race([work, late])) !== "late") return;
    } finally {
      clearTimeout(timer);
    }
    this.#log.warn("volumes of the former run are still being looked after");
    work.catch((error: unknown) =>
      this.#log.error({ err: error }, "volumes of the former run could not be looked after"),
    );
  }

  /** @param last what to do while the directories are still held, after the parts are closed */
  async close(last?: () => Promise<void>): Promise<void> {
    try {
      await this.parts.close();
      await last?.();
    } finally {
      await releaseAll(this.#held);
    }
  }
}

async function releaseAll(held: readonly HeldDir[]): Promise<void> {
  for (const dir of held.toReversed()) await dir.release();
}
