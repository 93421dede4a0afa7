import fs from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import type { Mdm } from "./mdm/mdm.ts";
import type { Id, VolumeRecord } from "./model.ts";
import { type Books, readBooks } from "./sdc/books.ts";
import { Layout } from "./sdc/layout.ts";
import type { Sdc } from "./sdc/sdc.ts";
import type { EngineStatus, Session } from "./sdc/session.ts";

/** How often it looks around when nothing has been said. */
const ROUND_MS = 500;
/** Chunks in one order to an engine: 16 MiB, some tens of milliseconds during which that volume's I/O waits. */
const STEP_CHUNKS = 16;
/** Rounds between two attempts to bring a failed MDM member back. */
const MDM_ROUNDS = 10;

export interface RepairerOptions {
  readonly stateDir: string;
  readonly sdc: Sdc;
  readonly mdm: Mdm;
  readonly session: (volume: VolumeRecord) => Session;
  /** An engine found out that a device does not work. `name` is SDS/device. */
  readonly deviceFailed: (name: string, reason: string) => Promise<void>;
  /** Moves copies about, at a time when no unmounted volume is being repaired. True when it changed something. */
  readonly move: () => Promise<boolean>;
  readonly log: (message: string) => void;
}

/** What is known of a volume's copies; `problem` when its records cannot be read. */
export interface Condition {
  readonly staleCopies: number;
  readonly unsyncedChunks: number;
  readonly garbage: number;
  readonly problem: string;
}

const GOOD: Condition = { staleCopies: 0, unsyncedChunks: 0, garbage: 0, problem: "" };
const toDo = (condition: Pick<Condition, "staleCopies" | "unsyncedChunks" | "garbage">) =>
  condition.staleCopies + condition.unsyncedChunks + condition.garbage;

/**
 * Makes copies good again in the background: lets the engines of attached volumes work in small steps, and runs an engine
 * without a mount for the others, one at a time. Also the one who notices what engines have to report.
 */
export class Repairer {
  readonly #options: RepairerOptions;
  readonly #stop = new AbortController();
  /** Conditions of unmounted volumes that are not good. */
  readonly #conditions = new Map<Id, Condition>();
  /** Unmounted volumes whose retired copies have all been given up, and the map that said which those are. */
  readonly #cleared = new Map<Id, number>();
  /** Unmounted volumes to be looked at. */
  readonly #queue = new Set<Id>();
  /** Attached volumes whose last step changed nothing, with the condition it left: what remains needs a device that is down. */
  readonly #stuck = new Map<Id, string>();
  readonly #complaints = new Map<Id, string>();
  /** Volumes that somebody is attaching, detaching or removing, and how many are at it. */
  readonly #held = new Map<Id, number>();
  #running: { id: Id; abort: AbortController; done: Promise<void> } | undefined;
  #loop: Promise<void> | undefined;

  constructor(options: RepairerOptions) {
    this.#options = options;
  }

  start(): void {
    this.lookAtAll();
    this.#loop = this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#running?.abort.abort();
    await this.#loop;
  }

  /** Something may have changed for this unmounted volume. */
  look(id: Id): void {
    this.#stuck.delete(id);
    this.#queue.add(id);
  }

  lookAtAll(): void {
    for (const id of this.#options.mdm.state.volumes.keys()) this.look(id);
  }

  forget(id: Id): void {
    this.#queue.delete(id);
    this.#conditions.delete(id);
    this.#cleared.delete(id);
    this.#stuck.delete(id);
  }

  /** Version of the newest map by which an unmounted volume has given up its retired copies; 0 when none is known. */
  clearedBy(id: Id): number {
    return this.#cleared.get(id) ?? 0;
  }

  repairing(id: Id): boolean {
    return this.#running?.id === id;
  }

  /**
   * Keeps the repairer off a volume while it is attached, detached or removed: two engines must never have one volume open.
   * Runs the task when a repair that was under way has ended.
   */
  async without<T>(id: Id, task: () => Promise<T>): Promise<T> {
    this.#held.set(id, (this.#held.get(id) ?? 0) + 1);
    try {
      if (this.#running?.id === id) {
        this.#running.abort.abort();
        await this.#running.done;
      }
      return await task();
    } finally {
      const holders = (this.#held.get(id) ?? 1) - 1;
      if (holders > 0) this.#held.set(id, holders);
      else this.#held.delete(id);
    }
  }

  /** `status` is the engine's word on an attached volume. */
  condition(id: Id, status: EngineStatus | undefined): Condition {
    if (status !== undefined)
      return {
        staleCopies: status.staleCopies,
        unsyncedChunks: status.unsyncedChunks,
        garbage: status.garbage,
        problem: "",
      };
    return this.#conditions.get(id) ?? GOOD;
  }

  async #run(): Promise<void> {
    for (let round = 1; !this.#stop.signal.aborted; round++) {
      try {
        let worked = await this.#attachedRound();
        await this.#unmountedRound();
        if (await this.#options.move()) worked = true;
        if (round % MDM_ROUNDS === 0) await this.#options.mdm.repair();
        if (worked) continue;
      } catch (error) {
        this.#options.log(`repair: ${error instanceof Error ? error.message : String(error)}`);
      }
      await pause(ROUND_MS, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    }
  }

  /** One step for every attached volume that needs it. True when some copy was made good. */
  async #attachedRound(): Promise<boolean> {
    let worked = false;
    for (const id of this.#options.sdc.known()) {
      if (this.#stop.signal.aborted || this.repairing(id) || this.#held.has(id)) continue;
      try {
        if (await this.#step(id)) worked = true;
        this.#complaints.delete(id);
      } catch (error) {
        // An engine that is being taken away answers no order.
        if (!this.#held.has(id)) this.#complain(id, error);
      }
    }
    return worked;
  }

  async #step(id: Id): Promise<boolean> {
    const { sdc, mdm } = this.#options;
    const status = sdc.status(id);
    if (!mdm.state.volumes.has(id) || status === undefined) return false;
    for (const { name, reason } of status.failedDevices) await this.#options.deviceFailed(name, reason);
    if (toDo(status) === 0 || this.#stuck.get(id) === fingerprint(status)) return false;
    const began = Date.now();
    const after = await sdc.work(id, STEP_CHUNKS);
    // Half of the engine's time stays the application's.
    await pause(Date.now() - began, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    if (fingerprint(after) !== fingerprint(status)) return true;
    this.#stuck.set(id, fingerprint(after));
    return false;
  }

  /** Says the same thing of a volume once, not every half second. */
  #complain(id: Id, error: unknown): void {
    const words = error instanceof Error ? error.message : String(error);
    if (this.#complaints.get(id) !== words) this.#options.log(`volume ${id}: ${words}`);
    this.#complaints.set(id, words);
  }

  async #unmountedRound(): Promise<void> {
    const { mdm, sdc, stateDir } = this.#options;
    for (const id of this.#queue) {
      if (this.#stop.signal.aborted) return;
      const volume = mdm.state.volumes.get(id);
      if (volume === undefined || (await sdc.device(id)) !== undefined) {
        this.#queue.delete(id);
        this.#conditions.delete(id);
        continue;
      }
      if (this.#held.has(id) || !this.#queue.delete(id)) continue;
      const session = this.#options.session(volume);
      const condition = assess(stateDir, volume, session);
      this.#note(id, condition);
      if (condition.problem !== "" || toDo(condition) === 0) continue;
      // No wait since the look at who holds it: from here on, whoever wants it waits for us.
      const status = await this.#repair(id, session);
      for (const { name, reason } of status?.failedDevices ?? []) await this.#options.deviceFailed(name, reason);
      if (!mdm.state.volumes.has(id)) return;
      if (status?.garbage === 0) this.#cleared.set(id, session.mapVersion);
      const garbage = status?.garbage ?? condition.garbage;
      this.#note(id, { ...assess(stateDir, volume, session), garbage });
      // Volumes that are attached must not wait for a long queue of others.
      return;
    }
  }

  /** Undefined: it failed or was broken off. */
  async #repair(id: Id, session: Session): Promise<EngineStatus | undefined> {
    const abort = new AbortController();
    let status: EngineStatus | undefined;
    const done = this.#options.sdc.repair(session, abort.signal).then(
      (last) => {
        status = last;
      },
      (error) => this.#options.log(`repair of volume ${id}: ${error instanceof Error ? error.message : String(error)}`),
    );
    this.#running = { id, abort, done };
    await done;
    this.#running = undefined;
    return abort.signal.aborted ? undefined : status;
  }

  #note(id: Id, condition: Condition): void {
    if (condition.problem === "" && toDo(condition) === 0) this.#conditions.delete(id);
    else this.#conditions.set(id, condition);
  }
}

const fingerprint = (status: EngineStatus) =>
  `${status.staleCopies}/${status.unsyncedChunks}/${status.garbage}/${status.mapVersion}`;

/** Reads an unmounted volume's records. A device that should have its file and has not holds no good copy. */
function assess(stateDir: string, volume: VolumeRecord, session: Session): Condition {
  let books: Books;
  try {
    books = readBooks(stateDir, volume.id, new Layout(volume, session.groups), false);
  } catch (error) {
    return { ...GOOD, problem: error instanceof Error ? error.message : String(error) };
  }
  const missing = session.devices.filter(({ state, file }) => state === "up" && !fs.existsSync(file)).length;
  const { staleCopies, unsyncedChunks, garbage } = books;
  return { staleCopies: staleCopies + missing, unsyncedChunks, garbage, problem: "" };
}
