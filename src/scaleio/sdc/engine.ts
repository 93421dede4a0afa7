import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { asSimError } from "../../lib/errors.ts";
import { BlockStore } from "./block-store.ts";
import { nodeFiles } from "./files.ts";
import { type BlockFile, FuseLoop, type ServedFile } from "./fuse-loop.ts";
import type { Negotiated } from "./fuse-protocol.ts";
import { Limiter } from "./limiter.ts";
import { killNow, workersIn } from "./processes.ts";
import { Recorder } from "./recorder.ts";
import type { RepairOrder } from "./repair-process.ts";
import { type Control, type EngineStatus, readJson, replaceJson, type Session, sessionFiles } from "./session.ts";

/** By number: asking process.stdin for it would make reading return at once. */
const STDIN = 0;
const STDOUT = 1;
/** The descriptor of /dev/fuse that the supervisor hands down. */
const FUSE_FD = 3;

/** The volume as it is served; an order may replace what is in it. */
interface Opened extends ServedFile {
  session: Session;
  store: BlockStore;
  blocks: BlockFile;
  sizeBytes: number;
  limiter: Limiter | undefined;
  disconnected: Session["disconnected"];
}

/** The supervisor runs a new engine on any status but these. */
const EXIT_UNMOUNTED = 0;
export const EXIT_CANNOT_SERVE = 4;

/**
 * A volume's engine process; the volume's run directory is its working directory. Serves the FUSE descriptor 3 until the
 * volume is unmounted; an engine that finds a former one's terms takes over from it. An engine without a session is a spare
 * one: it opens the volume when the session is there and the first request for it comes.
 */
export class Engine {
  readonly #files = sessionFiles(".");
  readonly #supervisor: number;
  #opened: Opened | undefined;
  #negotiated = readJson<Negotiated>(this.#files.negotiated);
  #ack = 0;
  /** What the last order to work made good. */
  #worked = 0;
  #ticks = 0;
  #failedDevices = 0;
  /** The volume could not be opened; the reason has been left for the daemon. */
  refused = false;

  /** @param supervisor its process id: it may have died by now, and who is asked for the parent would never know */
  constructor(supervisor: number) {
    this.#supervisor = supervisor;
  }

  /** Throws what BlockStore throws, and errors of the descriptor. */
  serve(): number {
    const loop = new FuseLoop(FUSE_FD, {
      open: () => this.#open(),
      negotiated: (terms) => {
        replaceJson(this.#files.negotiated, terms);
        this.#negotiated = terms;
      },
      doorbell: () => this.#obey(),
      resends: () => this.#negotiated?.resend === true,
      tick: () => this.#tick(),
      failed: (what, error) =>
        console.error(`${new Date().toISOString()} ${what}: ${error instanceof Error ? error.message : error}`),
    });
    if (this.#negotiated !== undefined) endHelpers();
    // At once, if it can be: the daemon is to see who serves the volume now.
    this.#open();
    if (this.#negotiated !== undefined) {
      // Without resending, what the dead engine had read is lost and its callers would wait for ever.
      if (!this.#negotiated.resend) return EXIT_CANNOT_SERVE;
      loop.takeOver();
    }
    loop.run();
    this.#opened?.store.close();
    return EXIT_UNMOUNTED;
  }

  /**
   * With no mount: opens one layer after the other and makes its copies good, as it is told on standard input (repair-process.ts).
   * Throws what BlockStore throws; a layer that cannot be opened has its reason in its run directory.
   */
  repair(): number {
    const root = process.cwd();
    for (const line of linesOf(STDIN)) {
      const order = JSON.parse(line) as RepairOrder;
      if ("open" in order) {
        process.chdir(order.open);
        // Who comes after a daemon that has died finds us by this directory, and it may be his own by now.
        if (process.ppid !== order.by) break;
        this.#openToRepair();
      } else if ("close" in order) this.#opened?.store.close();
      else if ("work" in order) this.#worked = this.#opened?.store.work(order.work) ?? 0;
      else this.#opened?.store.scan(order.scan.first, order.scan.chunks);
      this.#report();
      if ("close" in order) {
        this.#opened = undefined;
        process.chdir(root);
      }
      fs.writeSync(STDOUT, "\n");
    }
    this.#opened?.store.close();
    return EXIT_UNMOUNTED;
  }

  #openToRepair(): void {
    try {
      this.#open();
    } catch (error) {
      console.error(error);
      this.refused = false;
    }
  }

  #open(): ServedFile | undefined {
    if (this.#opened !== undefined) return this.#opened;
    try {
      const session = readJson<Session>(this.#files.session);
      if (session === undefined) return undefined;
      const store = new BlockStore(nodeFiles, session, Date.now);
      const blocks = recorded(store, session);
      const { sizeBytes, disconnected } = session;
      this.#opened = { session, store, blocks, sizeBytes, limiter: limiterOf(session), disconnected };
      this.#report();
      return this.#opened;
    } catch (error) {
      this.refused = true;
      const { code, message } = asSimError(error);
      replaceJson(this.#files.failure, { code, message });
      throw error;
    }
  }

  #obey(): void {
    this.#watchSupervisor();
    if (this.#opened === undefined) return;
    const order = readJson<Control>(this.#files.control);
    if (order !== undefined && order.seq !== this.#ack) {
      if (order.action === "scan") this.#opened.store.scan(order.first ?? 0, order.chunks ?? 1);
      else if (order.action === "work") this.#worked = this.#opened.store.work(order.chunks ?? 1);
      else follow(this.#opened, readJson<Session>(this.#files.session) ?? this.#opened.session);
      this.#ack = order.seq;
    }
    this.#report();
  }

  #tick(): void {
    if (++this.#ticks % 16 !== 0) return;
    this.#watchSupervisor();
    if (this.#opened !== undefined && this.#opened.store.failures !== this.#failedDevices) this.#report();
  }

  /**
   * The supervisor has been killed. Its only asset is the descriptor, which this process has too: start a new one, which
   * waits for the end of its standard input, and end. It then runs a new engine of its own.
   */
  #watchSupervisor(): void {
    if (process.ppid === this.#supervisor) return;
    const log = fs.openSync(this.#files.log, "a", 0o600);
    const script = path.join(import.meta.dirname, "sdc-supervisor.sh");
    spawn("sh", [script, process.execPath], { stdio: ["pipe", log, log, FUSE_FD], detached: true });
    process.exit(1);
  }

  #report(): void {
    if (this.#opened === undefined) return;
    const { session, store } = this.#opened;
    this.#failedDevices = store.failures;
    const status: EngineStatus = {
      pid: process.pid,
      // Not whoever has adopted this process: the report changes when there is a new supervisor.
      supervisorPid: this.#supervisor,
      ack: this.#ack,
      worked: this.#worked,
      mapVersion: session.mapVersion,
      resend: this.#negotiated?.resend ?? false,
      ...store.status(),
    };
    replaceJson(this.#files.status, status);
  }
}

/** The lines that come in, each as soon as it is complete. Blocks. */
function* linesOf(fd: number): Generator<string> {
  const buffer = Buffer.alloc(4096);
  let text = "";
  for (let n = fs.readSync(fd, buffer); n > 0; n = fs.readSync(fd, buffer)) {
    const lines = (text + buffer.toString("utf8", 0, n)).split("\n");
    text = lines.pop() ?? "";
    yield* lines;
  }
}

/** Goes on by a new session, unless it has an older map (ledger.ts). One with another layer freezes the one that took the writes so far (model.ts). */
function follow(opened: Opened, session: Session): void {
  if (session.mapVersion < opened.session.mapVersion) return;
  if (session.layerId === opened.session.layerId) opened.store.reload(session);
  else {
    try {
      opened.store.seal();
      opened.store = new BlockStore(nodeFiles, session, Date.now);
      opened.blocks = recorded(opened.store, session);
    } catch (error) {
      // Neither layer can be relied on now: the next engine opens the volume as the session says, or refuses to.
      console.error(error);
      process.exit(1);
    }
  }
  const { iops, bytesPerSecond } = opened.session.limits;
  if (iops !== session.limits.iops || bytesPerSecond !== session.limits.bytesPerSecond)
    opened.limiter = limiterOf(session);
  opened.session = session;
  opened.disconnected = session.disconnected;
  opened.sizeBytes = Math.max(opened.sizeBytes, session.sizeBytes);
}

/**
 * A former engine may have been killed while its helper was about to punch a hole (files.ts): that must not happen after
 * something has been written there. Whoever this one replaces is dead.
 */
function endHelpers(): void {
  const dir = fs.readlinkSync("/proc/self/cwd");
  const others = () => workersIn(dir).filter((pid) => pid !== process.pid && pid !== process.ppid);
  const clock = new Int32Array(new SharedArrayBuffer(4));
  for (let pids = others(); pids.length > 0; pids = others()) {
    for (const pid of pids) killNow(pid);
    Atomics.wait(clock, 0, 0, 2);
  }
}

const limiterOf = ({ limits }: Session) =>
  limits.iops > 0 || limits.bytesPerSecond > 0 ? new Limiter(limits) : undefined;

/** With a directory in REXRAY_SIM_RECORD, what the volume is asked to do is put on file there. */
function recorded(store: BlockStore, { volumeId }: Session): BlockFile {
  const directory = process.env["REXRAY_SIM_RECORD"];
  return directory === undefined ? store : new Recorder(store, path.join(directory, `${volumeId}.record`));
}
