import fs from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { type ErrorCode, SimError } from "../../lib/errors.ts";
import { REPAIR_LOG, type RepairOrder } from "./repair-process.ts";
import type { Repairs, SdcHost } from "./sdc-host.ts";
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
  readonly #host: SdcHost;
  readonly #spare: Spare;
  readonly #repairs: Repairs;
  /** Orders in flight: an engine takes one at a time. */
  readonly #orders = new Map<string, Promise<unknown>>();

  /**
   * @param runDir the daemon's run directory; each volume gets a directory below it
   */
  constructor(runDir: string, host: SdcHost) {
    fs.mkdirSync(path.join(runDir, "sdc"), { recursive: true, mode: 0o700 });
    // As the kernel writes it in its tables.
    this.#root = fs.realpathSync(path.join(runDir, "sdc"));
    this.#host = host;
    this.#repairs = host.repairs(this.#root);
    this.#spare = new Spare(this.#root, host, (dir) => this.#unmount(dir));
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
    return this.#host.traffic(this.#root);
  }

  status(volumeId: string): EngineStatus | undefined {
    return readJson<EngineStatus>(this.#files(volumeId).status);
  }

  /** The volume's block device, if there is one and its processes live. */
  async device(volumeId: string): Promise<string | undefined> {
    if (!fs.existsSync(this.#files(volumeId).dir)) return undefined;
    if (!(await this.#served(volumeId))) return undefined;
    return this.#host.loopOf(this.#files(volumeId).volume);
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
      return { device: this.#host.loopOf(files.volume) ?? (await this.#attachLoop(volumeId)), blank: false };
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
      await this.#host.startEngine(files.dir);
    }
    try {
      const device = await this.#attachLoop(volumeId);
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
    const loop = this.#host.loopOf(files.volume);
    if (loop !== undefined) {
      await this.#host.detachLoop(loop);
      if (!(await this.#until(() => this.#host.loopOf(files.volume) === undefined))) return { released: false };
    } else await this.#detachOrphan(files.device);
    return { released: await this.#unmount(files.dir) };
  }

  /**
   * Ends whatever serves the volume, without waiting for those who use it: they get errors, and nothing of theirs reaches the
   * copies any more when this returns. What was acknowledged is in the copies.
   */
  async fence(volumeId: string): Promise<void> {
    const { dir, volume } = this.#files(volumeId);
    if (!fs.existsSync(dir)) return;
    if (!(await this.#endAll(dir)))
      throw new SimError(
        "host_failed",
        `the engine of volume ${volumeId} does not end: kill the processes that work in ${dir}`,
      );
    const loop = this.#host.loopOf(volume);
    // It goes for good when the last one closes it.
    if (loop !== undefined) await this.#host.detachLoop(loop);
    while (this.#host.isMounted(volume)) await this.#host.unmount(volume);
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
    const device = this.#host.loopOf(volume);
    if (device !== undefined) await this.#host.growLoop(device, volume, sizeBytes);
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
   * Opens a layer that is not attached in the process for that, for the time of the task; one at a time. Answers how the engine has
   * left it; undefined when what a dead engine left is held by somebody: the next look finds it gone or served. Aborting kills the
   * process, which is harmless: it is the same crash-proof logic; it makes the task fail. Must not overlap with {@link attach} or
   * {@link detach} of the volume. Throws what the task and the engine throw.
   */
  async repair(
    session: Session,
    signal: AbortSignal,
    task: (engine: RepairEngine) => Promise<unknown>,
  ): Promise<EngineStatus | undefined> {
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
      const opened = await order({ open: files.dir, by: process.pid });
      const work = task({
        status: opened,
        work: (chunks) => order({ work: chunks }),
        scan: (first, chunks) => order({ scan: { first, chunks } }),
      });
      // It may be waiting for its turn.
      await unlessAborted(work, signal);
      // It may have found out while it closed that a device has not kept what it took.
      const left = await order({ close: true });
      fs.rmSync(files.dir, { recursive: true, force: true });
      return left;
    } catch (error) {
      // Whatever went wrong, no process has the layer open any more when the directory is gone, nor is a helper about to punch a hole.
      await this.#repairs.kill();
      if (await this.#endAll(files.dir)) fs.rmSync(files.dir, { recursive: true, force: true });
      throw error;
    } finally {
      signal.removeEventListener("abort", kill);
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
      await this.#host.ring(files.volume);
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
    return this.#host.isMounted(files.volume) && this.#isWorkedIn(files.dir);
  }

  async #attachLoop(volumeId: string): Promise<string> {
    const files = this.#files(volumeId);
    const loop = await this.#host.attachLoop(files.volume);
    fs.writeFileSync(files.device, loop, { mode: 0o600 });
    return loop;
  }

  /**
   * When the namespace ends in which the block file is mounted, as a managed plugin's does that is killed, the loop device stays and
   * its file has no other name than the root of a mount. It goes when the last one lets go who has it mounted.
   */
  async #detachOrphan(noted: string): Promise<void> {
    const loop = fs.existsSync(noted) ? fs.readFileSync(noted, "utf8") : undefined;
    if (loop !== undefined && this.#host.isOrphan(loop)) await this.#host.detachLoop(loop);
  }

  /** Ends what serves a run directory and removes it. False when its processes do not end. */
  async #unmount(dir: string): Promise<boolean> {
    const { volume } = sessionFiles(dir);
    // They end by themselves when what they serve is taken away. A repair of a former daemon serves nothing.
    const served = this.#host.isMounted(volume);
    while (this.#host.isMounted(volume)) await this.#host.unmount(volume);
    if (!(served ? await this.#until(() => !this.#isWorkedIn(dir)) : await this.#endAll(dir))) return false;
    fs.rmSync(dir, { recursive: true, force: true });
    return true;
  }

  /**
   * Kills whatever works in the directory, and what that starts while it dies: a supervisor may have started another engine,
   * an orphaned engine another supervisor. False when some do not end.
   */
  async #endAll(dir: string): Promise<boolean> {
    // Twice: who is started by one that has been looked at, while others are, may be missed once.
    for (let [empty, end] = [0, this.#host.now() + RELEASE_MS]; empty < 2; ) {
      const pids = this.#host.workersIn(dir);
      for (const pid of pids) this.#host.kill(pid);
      empty = pids.length === 0 ? empty + 1 : 0;
      if (pids.length === 0) continue;
      if (this.#host.now() > end) return false;
      await this.#host.pause(POLL_MS);
    }
    return true;
  }

  /** The status names them in the usual case; all processes are looked through when it does not. */
  #isWorkedIn(dir: string): boolean {
    const status = readJson<EngineStatus>(sessionFiles(dir).status);
    const named = status === undefined ? [] : [status.pid, status.supervisorPid];
    return named.some((pid) => this.#host.worksIn(pid, dir)) || this.#host.workersIn(dir).length > 0;
  }

  async #until(condition: () => boolean): Promise<boolean> {
    const end = this.#host.now() + RELEASE_MS;
    while (!condition()) {
      if (this.#host.now() > end) return false;
      await this.#host.pause(POLL_MS);
    }
    return true;
  }

  #files(volumeId: string) {
    const dir = path.join(this.#root, volumeId);
    return { dir, ...sessionFiles(dir) };
  }
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
