import fs from "node:fs";
import { stat, truncate } from "node:fs/promises";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { unmountFuseFile } from "../../host/fuse.ts";
import { attachLoop, detachLoop, growLoop, loopOf, loopTraffic } from "../../host/loop.ts";
import { mountsOf } from "../../host/mountinfo.ts";
import { type ErrorCode, SimError } from "../../lib/errors.ts";
import { type EnginePrograms, enginePrograms, startEngine, worksIn } from "./engine-process.ts";
import { REPAIR_LOG, type RepairOrder, RepairProcess } from "./repair-process.ts";
import { type Control, type EngineStatus, readJson, replaceJson, type Session, sessionFiles } from "./session.ts";
import { Spare } from "./spare.ts";

/** How long an engine may take to answer an order; a rebuild step on a slow disk is the longest. */
const ORDER_MS = 10_000;
/** How long the kernel may take to let go of a device that nobody uses. */
const RELEASE_MS = 3_000;
const POLL_MS = 2;

/** A volume's block device on this host. */
export interface Attached {
  readonly device: string;
  /** It is certain that nothing was ever written to the volume. */
  readonly blank: boolean;
}

/** An engine that has a layer open which is not attached. */
export interface RepairEngine {
  /** When it had opened it. */
  readonly status: EngineStatus;
  /** Makes up to so many chunks good again. */
  work(chunks: number): Promise<EngineStatus>;
  /** Looks for silent corruption in some chunks. */
  scan(first: number, chunks: number): Promise<EngineStatus>;
}

/**
 * The SDC of this host, seen from the daemon: makes volumes block devices and takes them away. It holds nothing in memory
 * that cannot be found again in the run directory, in the mount table and among the processes, so a daemon that starts
 * anew carries on with the volumes of its predecessor.
 */
export class Sdc {
  readonly #root: string;
  readonly #programs: EnginePrograms;
  readonly #spare: Spare;
  readonly #repairs: RepairProcess;
  /** Orders in flight: an engine takes one at a time. */
  readonly #orders = new Map<string, Promise<unknown>>();

  /**
   * @param runDir the daemon's run directory; each volume gets a directory below it
   * @param binDir where sdc-supervisor.sh and sdc-engine.js lie
   */
  constructor(runDir: string, binDir: string) {
    fs.mkdirSync(path.join(runDir, "sdc"), { recursive: true, mode: 0o700 });
    // As the kernel writes it in its tables.
    this.#root = fs.realpathSync(path.join(runDir, "sdc"));
    this.#programs = enginePrograms(binDir);
    this.#repairs = new RepairProcess(this.#programs.engine, this.#root);
    this.#spare = new Spare(this.#root, this.#programs, (dir) => this.#unmount(dir));
  }

  /** Gets ready for the first volume. */
  start(): void {
    void this.#spare.refill();
  }

  /** Attached volumes stay attached and served. */
  async close(): Promise<void> {
    await this.#repairs.end();
    await this.#spare.close();
    fs.rmSync(path.join(this.#root, REPAIR_LOG), { force: true });
  }

  /** Ids of volumes that have a run directory: attached, dead or being repaired. */
  known(): string[] {
    return fs.readdirSync(this.#root).filter((name) => !name.startsWith("."));
  }

  /** What applications have done at the devices so far; less than before when a device has gone. */
  traffic(): { readonly requests: number; readonly bytes: number } {
    return loopTraffic(this.#root);
  }

  status(volumeId: string): EngineStatus | undefined {
    return readJson<EngineStatus>(this.#files(volumeId).status);
  }

  /** The volume's block device, if there is one and its processes live. */
  async device(volumeId: string): Promise<string | undefined> {
    if (!fs.existsSync(this.#files(volumeId).dir)) return undefined;
    if (!(await this.#served(volumeId))) return undefined;
    return loopOf(this.#files(volumeId).volume);
  }

  /**
   * Makes the volume of this session a block device. Idempotent; what a dead run left is cleared away
   * first. Throws in_use when the kernel still holds a former attachment, the engine's own error when it cannot open the
   * volume, host_failed.
   */
  async attach(session: Session): Promise<Attached> {
    const { volumeId } = session;
    const files = this.#files(volumeId);
    if (await this.#served(volumeId)) {
      return { device: loopOf(files.volume) ?? (await attachLoop(files.volume)), blank: false };
    }
    if (!(await this.detach(volumeId)).released) {
      throw new SimError(
        "in_use",
        `volume ${volumeId} is still held by a former attachment: another mount namespace (a container?) uses its device; stop it, then try again`,
      );
    }
    if (!this.#spare.take(files.dir, (dir) => replaceJson(sessionFiles(dir).session, session))) {
      fs.mkdirSync(files.dir, { mode: 0o700 });
      replaceJson(files.session, session);
      await startEngine(this.#programs, files.dir);
    }
    try {
      const device = await attachLoop(files.volume);
      return { device, blank: this.status(volumeId)?.blank ?? false };
    } catch (error) {
      const failure = readJson<{ code: ErrorCode; message: string }>(files.failure);
      await this.detach(volumeId);
      throw failure === undefined ? error : new SimError(failure.code, failure.message, { cause: error });
    }
  }

  /**
   * Takes the device away and ends the volume's processes, also when they or the mount are dead already. `released` is
   * false while the kernel still holds the device for somebody else; the volume goes on being served then.
   */
  async detach(volumeId: string): Promise<{ released: boolean }> {
    const files = this.#files(volumeId);
    if (!fs.existsSync(files.dir)) return { released: true };
    const loop = loopOf(files.volume);
    if (loop !== undefined) {
      await detachLoop(loop);
      if (!(await until(() => loopOf(files.volume) === undefined, RELEASE_MS))) return { released: false };
    }
    return { released: await this.#unmount(files.dir) };
  }

  /**
   * Ends whatever serves the volume, without waiting for those who use it: they get errors, and nothing of theirs reaches the
   * copies any more when this returns. What was acknowledged is in the copies.
   */
  async fence(volumeId: string): Promise<void> {
    const { dir, volume } = this.#files(volumeId);
    if (!fs.existsSync(dir)) return;
    const loop = loopOf(volume);
    // The supervisor first, or it would run another engine.
    for (const pid of this.#processes(dir).toSorted((a, b) => a - b)) killNow(pid);
    if (!(await until(() => this.#processes(dir).length === 0, RELEASE_MS)))
      throw new SimError(
        "host_failed",
        `the engine of volume ${volumeId} does not end: kill the processes that work in ${dir}`,
      );
    while (mountsOf((mount) => mount.mountpoint === volume).length > 0) await unmountFuseFile(volume, { lazy: true });
    // It goes for good when the last one closes it.
    if (loop !== undefined) await detachLoop(loop);
    fs.rmSync(dir, { recursive: true, force: true });
  }

  /** Hands a changed session to an attached volume's engine; returns when it is in force. Throws timed_out, unavailable. */
  async reload(session: Session): Promise<EngineStatus> {
    replaceJson(this.#files(session.volumeId).session, session);
    return this.#order(session.volumeId, { action: "reload" });
  }

  /** Gives the volume's device, if it has one, the size that the engine serves now. */
  async grow(volumeId: string, sizeBytes: number): Promise<void> {
    const { volume } = this.#files(volumeId);
    const device = loopOf(volume);
    if (device === undefined) return;
    // While writes are under way the kernel shows the size that it is told in answer to stat(), and reads by the old one;
    // after this it has it.
    await truncate(volume, sizeBytes);
    await growLoop(device);
  }

  /** Lets the engine make up to `chunks` chunks good again. */
  work(volumeId: string, chunks: number): Promise<EngineStatus> {
    return this.#order(volumeId, { action: "work", chunks });
  }

  /** Lets the engine look for silent corruption in some chunks. */
  scan(volumeId: string, first: number, chunks: number): Promise<EngineStatus> {
    return this.#order(volumeId, { action: "scan", first, chunks });
  }

  /**
   * Opens a layer that is not attached in the process for that, for the time of the task; one at a time. Undefined when what a dead
   * engine left is held by somebody: the next look finds it gone or served. Aborting kills the process, which is harmless: it
   * is the same crash-proof logic; it makes the task fail. Must not overlap with {@link attach} or {@link detach} of the volume. Throws
   * what the task and the engine throw.
   */
  async repair<T>(
    session: Session,
    signal: AbortSignal,
    task: (engine: RepairEngine) => Promise<T>,
  ): Promise<T | undefined> {
    const files = this.#files(session.volumeId);
    if (!(await this.detach(session.volumeId)).released) return undefined;
    const status = () => {
      const failure = readJson<{ code: ErrorCode; message: string }>(files.failure);
      if (failure !== undefined) throw new SimError(failure.code, failure.message);
      return readJson<EngineStatus>(files.status) as EngineStatus;
    };
    const order = async (what: RepairOrder) => {
      signal.throwIfAborted();
      await this.#repairs.order(what);
      return status();
    };
    const kill = () => void this.#repairs.kill();
    fs.mkdirSync(files.dir, { mode: 0o700 });
    signal.addEventListener("abort", kill, { once: true });
    try {
      replaceJson(files.session, session);
      const opened = await order({ open: files.dir });
      const work = task({
        status: opened,
        work: (chunks) => order({ work: chunks }),
        scan: (first, chunks) => order({ scan: { first, chunks } }),
      });
      // It may be waiting for its turn.
      const result = await unlessAborted(work, signal);
      await this.#repairs.order({ close: true });
      return result;
    } catch (error) {
      // Whatever went wrong, no process has the layer open any more when this returns.
      await this.#repairs.kill();
      throw error;
    } finally {
      signal.removeEventListener("abort", kill);
      fs.rmSync(files.dir, { recursive: true, force: true });
    }
  }

  async #order(volumeId: string, order: Omit<Control, "seq">): Promise<EngineStatus> {
    const before = this.#orders.get(volumeId) ?? Promise.resolve();
    const mine = before.catch(() => undefined).then(() => this.#ring(volumeId, order));
    this.#orders.set(volumeId, mine);
    return withTimeout(
      mine,
      ORDER_MS,
      `the engine of volume ${volumeId} does not answer: see ${this.#files(volumeId).log}`,
    );
  }

  /** Leaves the order where the engine looks for it and asks for the file's attributes, which makes it look. */
  async #ring(volumeId: string, order: Omit<Control, "seq">): Promise<EngineStatus> {
    const files = this.#files(volumeId);
    const seq = (readJson<Control>(files.control)?.seq ?? 0) + 1;
    replaceJson(files.control, { seq, ...order });
    try {
      await stat(files.volume);
    } catch (error) {
      throw new SimError("unavailable", `the engine of volume ${volumeId} cannot be reached: see ${files.log}`, {
        cause: error,
      });
    }
    const status = this.status(volumeId);
    if (status?.ack !== seq)
      throw new SimError("unavailable", `the engine of volume ${volumeId} did not take the order: see ${files.log}`);
    return status;
  }

  /** Whether the volume is mounted as a file and somebody serves it: while an engine is being replaced, its supervisor lives. */
  async #served(volumeId: string): Promise<boolean> {
    const files = this.#files(volumeId);
    const mounts = mountsOf((mount) => mount.mountpoint === files.volume);
    return mounts.length > 0 && this.#processes(files.dir).length > 0;
  }

  /** Ends what serves a run directory and removes it. False when its processes do not end. */
  async #unmount(dir: string): Promise<boolean> {
    const { volume } = sessionFiles(dir);
    while (mountsOf((mount) => mount.mountpoint === volume).length > 0) {
      // Lazily: the mount may have been copied into namespaces of others, and goes when the last one does.
      await unmountFuseFile(volume, { lazy: true });
    }
    if (!(await until(() => this.#processes(dir).length === 0, RELEASE_MS))) return false;
    fs.rmSync(dir, { recursive: true, force: true });
    return true;
  }

  /** The status names them in the usual case; all processes are looked through when it does not. */
  #processes(dir: string): number[] {
    const status = readJson<EngineStatus>(sessionFiles(dir).status);
    const named = status === undefined ? [] : [status.pid, status.supervisorPid].filter((pid) => worksIn(pid, dir));
    if (named.length > 0) return named;
    return fs
      .readdirSync("/proc")
      .map(Number)
      .filter((pid) => Number.isInteger(pid) && worksIn(pid, dir));
  }

  #files(volumeId: string) {
    const dir = path.join(this.#root, volumeId);
    return { dir, ...sessionFiles(dir) };
  }
}

function killNow(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}

async function until(condition: () => boolean, limitMs: number): Promise<boolean> {
  const end = Date.now() + limitMs;
  while (!condition()) {
    if (Date.now() > end) return false;
    await pause(POLL_MS);
  }
  return true;
}

function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

async function withTimeout<T>(promise: Promise<T>, limitMs: number, message: string): Promise<T> {
  const timer = new AbortController();
  const late = pause(limitMs, undefined, { signal: timer.signal }).then(() => {
    throw new SimError("timed_out", message);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    timer.abort();
    late.catch(() => undefined);
  }
}
