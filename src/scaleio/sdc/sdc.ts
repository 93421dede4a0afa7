import { spawn } from "node:child_process";
import fs from "node:fs";
import { readFile, stat } from "node:fs/promises";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { mountFuseFile, unmountFuseFile } from "../../host/fuse.ts";
import { attachLoop, detachLoop, loopOf } from "../../host/loop.ts";
import { mountsOf } from "../../host/mountinfo.ts";
import { type ErrorCode, SimError } from "../../lib/errors.ts";
import { type Control, type EngineStatus, readJson, replaceJson, type Session, sessionFiles } from "./session.ts";

/** How long an engine may take to answer an order; a rebuild step on a slow disk is the longest. */
const ORDER_MS = 10_000;
/** How long the kernel may take to let go of a device that nobody uses. */
const RELEASE_MS = 3_000;
const POLL_MS = 10;

/**
 * The SDC of this host, seen from the daemon: makes volumes block devices and takes them away. It holds nothing in memory
 * that cannot be found again in the run directory, in the mount table and among the processes, so a daemon that starts
 * anew carries on with the volumes of its predecessor.
 */
export class Sdc {
  readonly #root: string;
  readonly #supervisor: string;
  /** Orders in flight: an engine takes one at a time. */
  readonly #orders = new Map<string, Promise<unknown>>();

  /**
   * @param runDir the daemon's run directory; each volume gets a directory below it
   * @param binDir where sdc-supervisor.sh and sdc-engine.js lie
   */
  constructor(runDir: string, binDir: string) {
    this.#root = path.join(runDir, "sdc");
    this.#supervisor = path.join(binDir, "sdc-supervisor.sh");
    fs.mkdirSync(this.#root, { recursive: true, mode: 0o700 });
  }

  /** Ids of volumes that have a run directory: attached, dead or being repaired. */
  known(): string[] {
    return fs.readdirSync(this.#root);
  }

  status(volumeId: string): EngineStatus | undefined {
    return readJson<EngineStatus>(this.#files(volumeId).status);
  }

  /** The volume's block device, if there is one and its processes live. */
  async device(volumeId: string): Promise<string | undefined> {
    if (!(await this.#served(volumeId))) return undefined;
    return loopOf(this.#files(volumeId).volume);
  }

  /**
   * Makes the volume of this session a block device and answers its path. Idempotent; what a dead run left is cleared away
   * first. Throws in_use when the kernel still holds a former attachment, the engine's own error when it cannot open the
   * volume, host_failed.
   */
  async attach(session: Session): Promise<string> {
    const { volumeId } = session;
    const files = this.#files(volumeId);
    if (await this.#served(volumeId)) return (await loopOf(files.volume)) ?? attachLoop(files.volume);
    if (!(await this.detach(volumeId)).released) {
      throw new SimError(
        "in_use",
        `volume ${volumeId} is still held by a former attachment: another mount namespace (a container?) uses its device; stop it, then try again`,
      );
    }
    fs.mkdirSync(files.dir, { recursive: true, mode: 0o700 });
    replaceJson(files.session, session);
    fs.writeFileSync(files.volume, "", { mode: 0o600 });
    const fuse = await mountFuseFile(files.volume, `rexray-sim:${volumeId}`);
    const log = fs.openSync(files.log, "a", 0o600);
    try {
      const args = [this.#supervisor, process.execPath, files.dir];
      spawn("sh", args, { stdio: ["ignore", log, log, fuse], detached: true, cwd: "/" }).unref();
    } finally {
      fs.closeSync(fuse);
      fs.closeSync(log);
    }
    try {
      return await attachLoop(files.volume);
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
    const loop = await loopOf(files.volume);
    if (loop !== undefined) {
      await detachLoop(loop);
      if (!(await until(async () => (await loopOf(files.volume)) === undefined, RELEASE_MS)))
        return { released: false };
    }
    const mounted = async () => (await mountsOf((mount) => mount.mountpoint === files.volume)).length > 0;
    while (await mounted()) {
      // Lazily: the mount may have been copied into namespaces of others, and goes when the last one does.
      await unmountFuseFile(files.volume, { lazy: true });
    }
    if (!(await until(async () => (await this.#processes(volumeId)).length === 0, RELEASE_MS)))
      return { released: false };
    fs.rmSync(files.dir, { recursive: true, force: true });
    return { released: true };
  }

  /** Hands a changed session to an attached volume's engine; returns when it is in force. Throws timed_out, unavailable. */
  async reload(session: Session): Promise<EngineStatus> {
    replaceJson(this.#files(session.volumeId).session, session);
    return this.#order(session.volumeId, { action: "reload" });
  }

  /** Lets the engine make up to `chunks` chunks good again. */
  work(volumeId: string, chunks: number): Promise<EngineStatus> {
    return this.#order(volumeId, { action: "work", chunks });
  }

  /**
   * Makes an unmounted volume's copies good in a process of its own, as far as the devices allow. Aborting kills it, which
   * is harmless: it is the same crash-proof logic.
   */
  async repair(session: Session, signal: AbortSignal): Promise<EngineStatus | undefined> {
    const files = this.#files(session.volumeId);
    fs.mkdirSync(files.dir, { recursive: true, mode: 0o700 });
    try {
      replaceJson(files.session, session);
      const log = fs.openSync(files.log, "a", 0o600);
      const engine = path.join(path.dirname(this.#supervisor), "sdc-engine.js");
      const child = spawn(process.execPath, [engine, files.dir, "--repair"], { stdio: ["ignore", log, log], cwd: "/" });
      fs.closeSync(log);
      const stop = () => child.kill("SIGKILL");
      signal.addEventListener("abort", stop, { once: true });
      if (signal.aborted) stop();
      await new Promise((resolve, reject) => child.once("exit", resolve).once("error", reject));
      signal.removeEventListener("abort", stop);
      const failure = readJson<{ code: ErrorCode; message: string }>(files.failure);
      if (failure !== undefined) throw new SimError(failure.code, failure.message);
      return this.status(session.volumeId);
    } finally {
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
    const mounts = await mountsOf((mount) => mount.mountpoint === files.volume);
    return mounts.length > 0 && (await this.#processes(volumeId)).length > 0;
  }

  /**
   * Supervisor and engine that live, by their command lines: process ids are used again, run directories are not. The
   * status names them in the usual case; all processes are looked through when it does not.
   */
  async #processes(volumeId: string): Promise<number[]> {
    const status = this.status(volumeId);
    const named = await this.#mine(volumeId, status === undefined ? [] : [status.pid, status.supervisorPid]);
    if (named.length > 0) return named;
    return this.#mine(volumeId, fs.readdirSync("/proc").map(Number).filter(Number.isInteger));
  }

  async #mine(volumeId: string, pids: readonly number[]): Promise<number[]> {
    const { dir } = this.#files(volumeId);
    const found: number[] = [];
    for (const pid of pids) {
      const args = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
      if (args.split("\0").includes(dir)) found.push(pid);
    }
    return found;
  }

  #files(volumeId: string) {
    const dir = path.join(this.#root, volumeId);
    return { dir, ...sessionFiles(dir) };
  }
}

async function until(condition: () => Promise<boolean>, limitMs: number): Promise<boolean> {
  const end = Date.now() + limitMs;
  while (!(await condition())) {
    if (Date.now() > end) return false;
    await pause(POLL_MS);
  }
  return true;
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
