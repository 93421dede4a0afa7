import fs from "node:fs";
import path from "node:path";
import { SimError } from "../../../src/lib/errors.ts";
import { Mappings } from "../../../src/scaleio/mappings.ts";
import type { Change, SystemState, VolumeRecord } from "../../../src/scaleio/model.ts";
import { RepairTurns } from "../../../src/scaleio/repair-turns.ts";
import { Sdc } from "../../../src/scaleio/sdc/sdc.ts";
import type { SdcHost } from "../../../src/scaleio/sdc/sdc-host.ts";
import type { Session } from "../../../src/scaleio/sdc/session.ts";
import { VolumeLocks } from "../../../src/scaleio/volume-locks.ts";
import { randomOf } from "../../helpers/random.ts";
import { tempDir } from "../../helpers/temp-dir.ts";
import { SimulatedHost } from "./simulated-host.ts";

const HOSTS = ["a", "b", "c"];
const ID = "v1";

/** A daemon, as far as it has to do with who has the volume. */
interface Daemon {
  readonly host: SdcHost & { kill9(): void };
  readonly sdc: Sdc;
  readonly turns: RepairTurns;
  readonly mappings: Mappings;
  /** Hosts that it has been told to be lost. */
  readonly lost: Set<string>;
  /** Calls that have not been answered. */
  calls: number;
}

/**
 * One seeded life of a volume that three hosts want: attached, detached, pre-empted, several calls at once; hosts are lost and are back,
 * repairs run, engines, supervisors and the daemon are killed at any moment. Whoever may write is watched all the time (design.md,
 * invariant 6): never two who do not know of each other, and never anybody but the host that has the volume. Throws at the
 * first one.
 */
export class Simulation {
  readonly #random: () => number;
  readonly #dir = tempDir("mappings");
  readonly #root: string;
  readonly #host: SimulatedHost;
  readonly #volumes = new Map<string, VolumeRecord>();
  #daemon: Daemon;
  /** Which run directory is whose, as soon as its host has been let in. */
  readonly #owners = new Map<string, string>();
  /** Devices that hosts have open. */
  readonly #held = new Set<{ readonly host: string; readonly device: string }>();

  constructor(readonly seed: number) {
    this.#random = randomOf(seed);
    this.#root = path.join(fs.realpathSync(this.#dir), "sdc");
    this.#host = new SimulatedHost(this.#random, this.#root);
    this.#volumes.set(ID, { id: ID, name: "v", mappedTo: null } as VolumeRecord);
    this.#daemon = this.#start();
  }

  async run(steps: number): Promise<void> {
    try {
      for (let step = 0; step < steps; step++) {
        const calls = Array.from({ length: this.#random() < 0.3 ? 2 : 1 }, () => this.#call());
        if (this.#random() < 0.5) this.#disturb();
        await this.#settle(Promise.allSettled(calls));
      }
    } finally {
      this.#daemon.host.kill9();
      fs.rmSync(this.#dir, { recursive: true, force: true });
    }
  }

  #start(): Daemon {
    const host = this.#host.daemon();
    const sdc = new Sdc(path.dirname(this.#root), host);
    const turns = new RepairTurns();
    const locks = new VolumeLocks(turns);
    const state = { volumes: this.#volumes } as unknown as SystemState;
    const mdm = { state, isCurrent: true, commit: (change: Change) => this.#commit(host, change) };
    const session = () => ({ volumeId: ID, mapVersion: 1, absorb: 0, lower: [], devices: [] }) as unknown as Session;
    const nothing = () => undefined;
    const mappings = new Mappings({ mdm, sdc, locks, session, released: nothing, preempted: nothing, log: nothing });
    return { host, sdc, turns, mappings, lost: new Set(), calls: 0 };
  }

  async #commit(host: SdcHost, change: Change): Promise<void> {
    await host.pause(1 + this.#random() * 5);
    if (this.#random() < 0.1) throw new SimError("no_quorum", "simulated");
    if (change.type === "volume-mapped")
      this.#volumes.set(ID, { ...(this.#volumes.get(ID) as VolumeRecord), mappedTo: change.to });
  }

  get #mappedTo(): string | null {
    return this.#volumes.get(ID)?.mappedTo ?? null;
  }

  async #call(): Promise<void> {
    const daemon = this.#daemon;
    const host = HOSTS[Math.floor(this.#random() * HOSTS.length)] as string;
    const dice = this.#random();
    daemon.calls++;
    try {
      // Of two calls one may come in the middle of the other.
      if (this.#random() < 0.4) await daemon.host.pause(this.#random() ** 2 * 300);
      if (dice < 0.5) {
        const { device } = await daemon.mappings.attach(ID, host, { preempt: this.#random() < 0.7 });
        if (daemon.lost.has(host)) throw new Error(`host ${host} is lost, and gets the volume`);
        this.#letIn(host, device);
      } else if (dice < 0.75) await daemon.mappings.detach(ID, host);
      else if (dice < 0.83) {
        // A mapping takes a moment only; it is to be lost in that.
        await daemon.host.pause(this.#random() * 30);
        daemon.lost.add(host);
        this.#host.later(this.#random() * 1000, () => {
          daemon.lost.delete(host);
          daemon.mappings.hostIsBack(host);
        });
        await daemon.mappings.loseHost(host);
        if (daemon.calls === 1 && this.#mappedTo === host && this.#host.writers().length > 0)
          throw new Error(`host ${host} is lost, and still writes`);
      } else await this.#repair(daemon);
    } catch (error) {
      // What a dead daemon says nobody hears. The kernel may be too slow for fencing, which is said.
      if (!(error instanceof SimError) && daemon === this.#daemon && !/ENOTCONN/.test(String(error))) throw error;
    } finally {
      daemon.calls--;
    }
  }

  /** As the repairer does. */
  async #repair({ turns, sdc }: Daemon): Promise<void> {
    if ((await sdc.device(ID)) !== undefined || turns.isHeld(ID) || turns.isRepaired(ID)) return;
    await turns.run(ID, (signal) =>
      sdc.repair({ volumeId: ID } as Session, signal, async (engine) => {
        while (this.#random() < 0.6) await engine.work(64);
      }),
    );
  }

  /** From now on only what serves this host may write. */
  #letIn(host: string, device: string): void {
    const place = this.#host.placeOf(path.join(this.#root, ID));
    if (place !== undefined) this.#owners.set(place, host);
    for (const writer of this.#host.writers())
      if (writer.place !== place) throw new Error(`${host} was let in while another one's engine could still write`);
    for (const held of this.#held)
      if (held.host !== host && this.#host.isWritable(held.device))
        throw new Error(`${host} was let in while ${held.host} could still write`);
    const held = { host, device };
    this.#held.add(held);
    const close = this.#host.use(device);
    this.#host.later(this.#random() ** 4 * 8000, () => {
      this.#held.delete(held);
      close();
    });
  }

  /** Something is killed in a moment. */
  #disturb(): void {
    const dice = this.#random();
    const kind = dice < 0.4 ? "engine" : dice < 0.8 ? "supervisor" : "daemon";
    this.#host.later(this.#random() * 150, () => {
      if (kind === "daemon") {
        this.#daemon.host.kill9();
        this.#daemon = this.#start();
        return;
      }
      const [pid] = this.#host.processes(kind).toSorted(() => this.#random() - 0.5);
      if (pid !== undefined) this.#host.kill(pid);
    });
  }

  /** Lets time pass until the calls are answered, or the daemon has been killed. */
  async #settle(calls: Promise<PromiseSettledResult<void>[]>): Promise<void> {
    const daemon = this.#daemon;
    let answers: PromiseSettledResult<void>[] | undefined;
    calls.then((all) => {
      answers = all;
    });
    for (;;) {
      for (let turn = 0; turn < 60; turn++) await undefined;
      this.#check();
      if (answers !== undefined || this.#daemon !== daemon || !this.#host.tick()) break;
    }
    for (const answer of answers ?? []) if (answer.status === "rejected") throw answer.reason;
  }

  /** Nobody writes beside somebody who does not know of him. */
  #check(): void {
    const places = new Set(this.#host.writers().map(({ place }) => place));
    if (places.size > 1) throw new Error("two engines that do not know of each other may write");
    if (this.#daemon.calls > 0) return;
    for (const place of places) {
      const owner = this.#owners.get(place);
      if (owner !== undefined && owner !== this.#mappedTo)
        throw new Error(`host ${owner} writes, and ${this.#mappedTo ?? "nobody"} has the volume`);
    }
  }
}
