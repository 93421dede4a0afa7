import fs from "node:fs";
import path from "node:path";
import type { RepairOrder } from "../../../src/scaleio/sdc/repair-process.ts";
import type { SdcHost } from "../../../src/scaleio/sdc/sdc-host.ts";
import { readJson, replaceJson, sessionFiles } from "../../../src/scaleio/sdc/session.ts";

/** A mounted block file. It lives while a process has its descriptor, and serves while it is mounted or a device stands on it. */
interface Connection {
  mounted: boolean;
}

interface Process {
  readonly pid: number;
  readonly kind: "supervisor" | "engine" | "repair" | "helper";
  /** The run directory it works in, whatever that is called now. */
  place: string;
  readonly connection: Connection | undefined;
  parent: number;
  /** A look at all processes takes a while: one that is born meanwhile is missed. */
  overlooked: boolean;
  /** An engine that has opened its volume, a repair, a helper: it may write at any time. */
  writes: boolean;
  /** It has been killed; it may be in the kernel for a while yet. */
  dying: boolean;
}

interface Loop {
  readonly device: string;
  readonly place: string;
  readonly connection: Connection;
  users: number;
  detaching: boolean;
}

const errno = (code: string) => Object.assign(new Error(code), { code });

/**
 * A machine on which processes take their time to start, to notice and to die, each a random one: supervisors that start
 * engines, engines that start supervisors (sdc-supervisor.sh, engine.ts), their helpers, and repairs. Time is simulated: it goes to the
 * next event when everybody waits.
 */
export class SimulatedHost {
  readonly #random: () => number;
  readonly #root: string;
  readonly #processes = new Map<number, Process>();
  readonly #loops = new Map<string, Loop>();
  readonly #mounts: { readonly place: string; readonly connection: Connection }[] = [];
  #events: { readonly at: number; readonly run: () => void }[] = [];
  #now = 0;
  #lastPid = 100;
  #lastLoop = 0;

  /** @param root the directory of all run directories */
  constructor(random: () => number, root: string) {
    this.#random = random;
    this.#root = root;
  }

  /** As one daemon has it: when that has been killed, it waits for ever for whatever it waited for. */
  daemon(): SdcHost & { kill9(): void } {
    let dead = false;
    const wait = async (done: Promise<unknown>) => {
      try {
        await done;
      } finally {
        if (dead) await new Promise(() => undefined);
      }
    };
    let repair: Process | undefined;
    let told = false;
    const slowly =
      <A extends unknown[], R>(most: number, work: (...args: A) => R) =>
      async (...args: A): Promise<R> => {
        await wait(this.#pause(1 + this.#random() * most));
        return work(...args);
      };
    return {
      kill9: () => {
        dead = true;
        if (repair !== undefined && !told) this.#endSoon(repair);
      },
      startEngine: slowly(5, (dir) => this.#start(dir)),
      repairs: (root) => ({
        order: (order) => {
          if (repair === undefined || !this.#runs(repair))
            repair = this.#spawn("repair", this.placeOf(root) as string, undefined, 1);
          told = true;
          return wait(this.#obey(repair, order, root, () => dead).finally(() => (told = false)));
        },
        kill: async () => {
          if (repair !== undefined) this.kill(repair.pid);
          while (repair !== undefined && this.#processes.has(repair.pid)) await wait(this.#pause(2));
        },
        end: async () => undefined,
      }),
      workersIn: (dir) => this.#workersIn(dir),
      worksIn: (pid, dir) => this.#workersIn(dir).includes(pid),
      kill: (pid) => this.kill(pid),
      isMounted: (file) => this.#mountOf(file) !== undefined,
      unmount: slowly(5, (file) => {
        const mount = this.#mountOf(file);
        if (mount === undefined) throw errno("EINVAL");
        mount.connection.mounted = false;
        this.#mounts.splice(this.#mounts.indexOf(mount), 1);
        this.#look();
      }),
      ring: slowly(2, (file) => this.#ring(path.dirname(file))),
      attachLoop: slowly(10, (file) => this.#attachLoop(file)),
      loopOf: (file) => this.#loopAt(path.dirname(file))?.device,
      // No mount keeps a file here whose run directory is gone.
      isOrphan: () => false,
      detachLoop: slowly(5, (device) => {
        const loop = this.#loops.get(device);
        if (loop === undefined) return;
        loop.detaching = true;
        this.#letGo(loop);
      }),
      growLoop: async () => undefined,
      traffic: () => ({ requests: 0, bytes: 0 }),
      now: () => this.#now,
      pause: (ms) => wait(this.#pause(ms)),
    };
  }

  /** Something that happens by itself. */
  later(ms: number, run: () => void): void {
    this.#events.push({ at: this.#now + ms, run });
  }

  /** Time goes on to the next event. False: there is none. */
  tick(): boolean {
    const next = this.#events.reduce((a, b) => (b.at < a.at ? b : a), { at: Number.POSITIVE_INFINITY, run: () => {} });
    if (next.at === Number.POSITIVE_INFINITY) return false;
    this.#events = this.#events.filter((event) => event !== next);
    this.#now = Math.max(this.#now, next.at);
    next.run();
    return true;
  }

  /** Who may write to the volume of a run directory, by what they were started in. */
  writers(): readonly { readonly pid: number; readonly place: string }[] {
    return [...this.#processes.values()].filter((found) => found.writes);
  }

  processes(kind: Process["kind"]): number[] {
    return [...this.#processes.values()].filter((found) => found.kind === kind).map(({ pid }) => pid);
  }

  /** What a run directory is, under whatever name. */
  placeOf(dir: string): string | undefined {
    const stat = fs.statSync(dir, { throwIfNoEntry: false, bigint: true });
    return stat && `${stat.ino}/${stat.birthtimeNs}`;
  }

  /** Somebody opens the device; the answer lets it go. */
  use(device: string): () => void {
    const loop = this.#loops.get(device);
    if (loop === undefined) return () => undefined;
    loop.users++;
    return () => {
      loop.users--;
      this.#letGo(loop);
    };
  }

  /** Whether what is written to the device may still arrive. */
  isWritable(device: string): boolean {
    const loop = this.#loops.get(device);
    return loop !== undefined && this.#holds(loop.connection);
  }

  kill(pid: number): void {
    const found = this.#processes.get(pid);
    if (found === undefined || found.dying) return;
    found.dying = true;
    // Now and then one is stuck in the kernel.
    const ms = this.#random() < 0.05 ? this.#random() * 6000 : this.#random() * 4;
    this.later(ms, () => this.#die(found));
  }

  #start(dir: string): number {
    const place = this.placeOf(dir);
    if (place === undefined) throw errno("ENOENT");
    const connection = { mounted: true };
    this.#mounts.push({ place, connection });
    return this.#spawn("supervisor", place, connection, 1).pid;
  }

  #spawn(kind: Process["kind"], place: string, connection: Connection | undefined, parent: number): Process {
    const pid = ++this.#lastPid;
    const born = {
      pid,
      kind,
      place,
      connection,
      parent,
      overlooked: this.#random() < 0.5,
      writes: false,
      dying: false,
    };
    this.#processes.set(born.pid, born);
    this.later(this.#random() * 40, () => this.#boot(born));
    return born;
  }

  #boot(born: Process): void {
    if (!this.#runs(born)) return;
    if (born.kind === "supervisor") this.#spawn("engine", born.place, born.connection, born.pid);
    else if (born.kind === "engine") this.#open(born);
  }

  /** A session there is served; a spare engine looks again. */
  #open(engine: Process): void {
    if (!this.#runs(engine)) return;
    if (!this.#isServed(engine)) {
      this.#die(engine);
      return;
    }
    const dir = this.#dirOf(engine.place);
    if (dir === undefined || readJson(sessionFiles(dir).session) === undefined) {
      this.later(3, () => this.#open(engine));
      return;
    }
    engine.writes = true;
    this.#report(engine, dir, 0);
    this.#serve(engine);
  }

  /** What an engine does from time to time: notices that its supervisor is gone, has a helper punch a hole. */
  #serve(engine: Process): void {
    this.later(5 + this.#random() * 60, () => {
      if (!this.#runs(engine)) return;
      if (!this.#isServed(engine)) {
        this.#die(engine);
        return;
      }
      if (this.#random() < 0.2) this.#help(engine);
      if (this.#processes.has(engine.parent)) {
        this.#serve(engine);
        return;
      }
      const heir = this.#spawn("supervisor", engine.place, engine.connection, 1);
      this.later(this.#random() * 5, () => this.#end(engine));
      engine.parent = heir.pid;
    });
  }

  #help(engine: Process, ms = this.#random() * 30): void {
    const helper = this.#spawn("helper", engine.place, undefined, engine.pid);
    helper.writes = true;
    this.later(ms, () => this.#end(helper));
  }

  /** As Engine.repair does: with no daemon any more it ends after what it was told, and opens nothing. */
  #obey(repair: Process, order: RepairOrder, root: string, isOrphan: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      let done = false;
      const wait = () => {
        if (done) resolve();
        else if (this.#processes.has(repair.pid)) this.later(2, wait);
        else reject(new Error("the repair has ended"));
      };
      wait();
      // It waits for its helper.
      const helped = "work" in order && this.#random() < 0.5 ? this.#random() * 300 : 0;
      if (helped > 0) this.#help(repair, helped);
      this.later("work" in order ? 20 + helped + this.#random() * 1000 : this.#random() * 40, () => {
        if (!this.#runs(repair)) return;
        if ("open" in order) {
          const place = this.placeOf(order.open);
          if (place === undefined || isOrphan()) return this.#die(repair);
          repair.place = place;
          repair.writes = true;
          repair.overlooked = this.#random() < 0.5;
          replaceJson(sessionFiles(order.open).status, { pid: repair.pid });
        } else if ("close" in order) {
          repair.writes = false;
          repair.place = this.placeOf(root) as string;
        }
        if (isOrphan()) this.#endSoon(repair);
        done = true;
      });
    });
  }

  #endSoon(found: Process): void {
    this.later(this.#random() * 5, () => this.#end(found));
  }

  #die(found: Process): void {
    if (!this.#processes.delete(found.pid)) return;
    const parent = this.#processes.get(found.parent);
    // A supervisor runs the engine again unless it has ended well.
    if (found.kind === "engine" && parent?.kind === "supervisor") {
      this.later(this.#random() * 30, () => {
        if (!this.#runs(parent)) return;
        if (this.#isServed(found)) this.#spawn("engine", found.place, found.connection, parent.pid);
        else this.#die(parent);
      });
    }
    this.#look();
  }

  #runs(found: Process): boolean {
    return this.#processes.get(found.pid) === found && !found.dying;
  }

  /** Whether requests can come. */
  #isServed({ connection }: Process): boolean {
    return (
      connection !== undefined &&
      (connection.mounted || [...this.#loops.values()].some((loop) => loop.connection === connection))
    );
  }

  /** Engines whose file has gone end by themselves: their read answers ENODEV. */
  #look(): void {
    for (const found of this.#processes.values()) {
      if (found.kind !== "engine" || !found.writes || found.dying || this.#isServed(found)) continue;
      this.#endSoon(found);
    }
  }

  /** It ends by itself. */
  #end(found: Process): void {
    if (this.#runs(found)) this.#die(found);
  }

  #ring(dir: string): void {
    const place = this.placeOf(dir);
    const engine = [...this.#processes.values()].find(
      (found) => found.place === place && found.kind === "engine" && found.writes && !found.dying,
    );
    if (engine === undefined) throw errno("ENOTCONN");
    this.#report(engine, dir, readJson<{ seq: number }>(sessionFiles(dir).control)?.seq ?? 0);
  }

  #report({ pid, parent }: Process, dir: string, ack: number): void {
    replaceJson(sessionFiles(dir).status, { pid, supervisorPid: parent, ack, blank: false });
  }

  #attachLoop(file: string): string {
    const mount = this.#mountOf(file);
    if (mount === undefined || !this.#holds(mount.connection)) throw errno("ENOTCONN");
    const device = `/dev/loop${++this.#lastLoop}`;
    this.#loops.set(device, { device, ...mount, users: 0, detaching: false });
    return device;
  }

  #holds(connection: Connection): boolean {
    return [...this.#processes.values()].some((found) => found.connection === connection);
  }

  #letGo(loop: Loop): void {
    if (!loop.detaching || loop.users > 0) return;
    this.#loops.delete(loop.device);
    this.#look();
  }

  #loopAt(dir: string): Loop | undefined {
    const place = this.placeOf(dir);
    return [...this.#loops.values()].find((loop) => loop.place === place);
  }

  #mountOf(file: string) {
    const place = this.placeOf(path.dirname(file));
    return this.#mounts.find((mount) => mount.place === place);
  }

  #workersIn(dir: string): number[] {
    const place = this.placeOf(dir);
    const all = [...this.#processes.values()].filter((found) => found.place === place);
    const seen = all.filter(({ overlooked }) => !overlooked);
    for (const found of all) found.overlooked = false;
    return seen.map(({ pid }) => pid);
  }

  #dirOf(place: string): string | undefined {
    const names = fs.readdirSync(this.#root).map((name) => path.join(this.#root, name));
    return names.find((dir) => this.placeOf(dir) === place);
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.later(ms, resolve));
  }
}
