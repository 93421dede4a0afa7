import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { BlockStore } from "./block-store.ts";
import { nodeFiles } from "./files.ts";
import { FuseLoop } from "./fuse-loop.ts";
import type { Negotiated } from "./fuse-protocol.ts";
import { type Control, type EngineStatus, readJson, replaceJson, type Session, sessionFiles } from "./session.ts";

/** The descriptor of /dev/fuse that the supervisor hands down. */
const FUSE_FD = 3;

/** The supervisor runs a new engine on any status but these. */
const EXIT_UNMOUNTED = 0;
export const EXIT_CANNOT_SERVE = 4;

/**
 * A volume's engine process. Serves the FUSE descriptor 3 until the volume is unmounted; an engine that finds a former
 * one's terms takes over from it. With no mount (`mounted: false`) it makes the volume's copies good as far as it can and ends.
 */
export class Engine {
  readonly #files: ReturnType<typeof sessionFiles>;
  readonly #store: BlockStore;
  readonly #parent = process.ppid;
  readonly #dir: string;
  #session: Session;
  #negotiated: Negotiated | undefined;
  #ack = 0;
  #ticks = 0;
  #failedDevices = 0;

  /** @param dir the volume's run directory. Throws what BlockStore throws. */
  constructor(dir: string) {
    this.#dir = dir;
    this.#files = sessionFiles(dir);
    this.#session = this.#readSession();
    this.#store = new BlockStore(nodeFiles, this.#session, Date.now);
    this.#negotiated = readJson<Negotiated>(this.#files.negotiated);
  }

  serve(): number {
    const loop = new FuseLoop(FUSE_FD, this.#session.sizeBytes, this.#store, {
      negotiated: (terms) => {
        replaceJson(this.#files.negotiated, terms);
        this.#negotiated = terms;
        this.#report();
      },
      doorbell: () => this.#obey(),
      tick: () => this.#tick(),
      failed: (what, error) =>
        console.error(`${new Date().toISOString()} ${what}: ${error instanceof Error ? error.message : error}`),
    });
    if (this.#negotiated !== undefined) {
      // Without resending, what the dead engine had read is lost and its callers would wait for ever.
      if (!this.#negotiated.resend) return EXIT_CANNOT_SERVE;
      loop.takeOver();
    }
    this.#report();
    loop.run();
    this.#store.close();
    return EXIT_UNMOUNTED;
  }

  repair(): number {
    while (this.#store.work(64) > 0);
    this.#report();
    this.#store.close();
    return EXIT_UNMOUNTED;
  }

  #readSession(): Session {
    const session = readJson<Session>(this.#files.session);
    if (session === undefined) throw new Error(`${this.#files.session} is missing`);
    return session;
  }

  #obey(): void {
    this.#watchSupervisor();
    const order = readJson<Control>(this.#files.control);
    if (order !== undefined && order.seq !== this.#ack) {
      if (order.action === "work") this.#store.work(order.chunks ?? 1);
      else {
        this.#session = this.#readSession();
        this.#store.reload(this.#session);
      }
      this.#ack = order.seq;
    }
    this.#report();
  }

  #tick(): void {
    if (++this.#ticks % 16 !== 0) return;
    this.#watchSupervisor();
    const failed = this.#store.failures;
    if (failed !== this.#failedDevices) this.#report();
  }

  /**
   * The supervisor has been killed. Its only asset is the descriptor, which this process has too: start a new one, which
   * waits for the end of its standard input, and end. It then runs a new engine of its own.
   */
  #watchSupervisor(): void {
    if (process.ppid === this.#parent) return;
    const log = fs.openSync(this.#files.log, "a");
    const script = path.join(import.meta.dirname, "sdc-supervisor.sh");
    spawn("sh", [script, process.execPath, this.#dir], { stdio: ["pipe", log, log, FUSE_FD], detached: true });
    process.exit(1);
  }

  #report(): void {
    this.#failedDevices = this.#store.failures;
    const status: EngineStatus = {
      pid: process.pid,
      supervisorPid: process.ppid,
      ack: this.#ack,
      mapVersion: this.#session.mapVersion,
      resend: this.#negotiated?.resend ?? false,
      ...this.#store.status(),
    };
    replaceJson(this.#files.status, status);
  }
}
