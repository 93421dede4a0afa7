import { setTimeout as pause } from "node:timers/promises";
import { Slices } from "../lib/slices.ts";
import { assess, type Condition, GOOD, toDo } from "./condition.ts";
import type { FaultBook } from "./faults/fault-book.ts";
import { disconnectOf, limitMsOf } from "./faults/sdc-disconnect.ts";
import { allLayers, familyOf, type Layer, ownLayer } from "./layers.ts";
import type { Mdm } from "./mdm/mdm.ts";
import { CHUNK_BYTES, type Id } from "./model.ts";
import { type Pace, Throttle, type ThrottlePolicy } from "./pool/throttle.ts";
import type { RepairTurns } from "./repair-turns.ts";
import type { Sdc } from "./sdc/sdc.ts";
import type { EngineStatus, Session } from "./sdc/session.ts";
import { sessionOf, unitOf } from "./sessions.ts";

/** How often it looks around when nothing has been said. */
const ROUND_MS = 500;
/** Rounds between two attempts to bring a failed MDM member back. */
const MDM_ROUNDS = 10;

export interface RepairerOptions {
  readonly stateDir: string;
  readonly sdc: Sdc;
  readonly mdm: Mdm;
  readonly turns: RepairTurns;
  readonly faults: Pick<FaultBook, "on" | "faults">;
  /** For chunks with a single good copy, and for those that have two. */
  readonly policies: { readonly rebuild: ThrottlePolicy; readonly rebalance: ThrottlePolicy };
  /** An engine found out that a device does not work. `mapVersion` is that of the engine. */
  readonly deviceFailed: (failure: EngineStatus["failedDevices"][number], mapVersion: number) => Promise<void>;
  /** Blocks were found that did not hold what had been written. `attached`: the engine goes on, and will be asked again. */
  readonly badBlocks: (volumeId: Id, status: EngineStatus, attached: boolean) => Promise<void>;
  /** A layer needs nothing any more of these layers beneath it. */
  readonly absorbed: (layerId: Id, lower: readonly Id[]) => Promise<void>;
  /** Moves copies about, at a time when no unmounted layer is being repaired. True when it changed something. */
  readonly move: () => Promise<boolean>;
  readonly log: (message: string) => void;
}

interface ScanOrder {
  readonly unit: string;
  readonly first: number;
  readonly chunks: number;
  readonly resolve: (status: EngineStatus | undefined) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Makes copies good again in the background: lets the engines of attached volumes work in small steps, and runs an engine
 * without a mount for all other layers, one at a time. Also the one who notices what engines have to report.
 *
 * A layer is known here by its unit (sessions.ts): the id of its volume, or "layer-ID" for a frozen one.
 */
export class Repairer {
  readonly #options: RepairerOptions;
  readonly #stop = new AbortController();
  /** Conditions of units without an engine that are not good. */
  readonly #conditions = new Map<string, Condition>();
  /** Units without an engine whose retired copies have all been given up, and the map that said which those are. */
  readonly #cleared = new Map<string, number>();
  /** Units without an engine, to be looked at. */
  readonly #queue = new Set<string>();
  /** Attached volumes whose last step changed nothing, with the condition it left: what remains needs a device that is down. */
  readonly #stuck = new Map<string, string>();
  readonly #throttles = new Map<Id, { throttle: Throttle; at: number; requests: number; bytes: number }>();
  readonly #complaints = new Map<string, string>();
  readonly #scans: ScanOrder[] = [];
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
    this.#options.turns.stop();
    await this.#loop;
  }

  /** Something may have changed for this unit. */
  look(unit: string): void {
    this.#stuck.delete(unit);
    this.#queue.add(unit);
  }

  lookAtAll(): void {
    for (const layer of allLayers(this.#options.mdm.state.volumes.values()).values()) this.look(unitOf(layer));
  }

  forget(unit: string): void {
    this.#queue.delete(unit);
    this.#conditions.delete(unit);
    this.#cleared.delete(unit);
    this.#stuck.delete(unit);
    this.#throttles.delete(unit);
  }

  /** Version of the newest map by which a unit without an engine has given up its retired copies; 0 when none is known. */
  clearedBy(unit: string): number {
    return this.#cleared.get(unit) ?? 0;
  }

  /**
   * Has an engine look for silent corruption in a layer that has none, at a time when nothing else is done to it. Answers what
   * the engine has to report; undefined: the layer is in use, or somebody wanted it meanwhile. Throws what the engine throws.
   */
  scan(unit: string, first: number, chunks: number): Promise<EngineStatus | undefined> {
    if (this.#stop.signal.aborted) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => this.#scans.push({ unit, first, chunks, resolve, reject }));
  }

  /** `status` is the engine's word on an attached volume. */
  condition(unit: string, status: EngineStatus | undefined): Condition {
    if (status === undefined) return this.#conditions.get(unit) ?? GOOD;
    const { staleCopies, unsyncedChunks, garbage, absorbing } = status;
    return { staleCopies, unsyncedChunks, garbage, absorbing, problem: "" };
  }

  async #run(): Promise<void> {
    for (let round = 1; !this.#stop.signal.aborted; round++) {
      try {
        let worked = await this.#attachedRound();
        await this.#unmountedRound();
        if (await this.#scanRound()) worked = true;
        if (await this.#options.move()) worked = true;
        if (round % MDM_ROUNDS === 0) await this.#options.mdm.repair();
        if (worked) continue;
      } catch (error) {
        this.#options.log(`repair: ${error instanceof Error ? error.message : String(error)}`);
      }
      await pause(ROUND_MS, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    }
    for (const { resolve } of this.#scans.splice(0)) resolve(undefined);
  }

  /** One step for every attached volume that needs it. True when some copy was made good. */
  async #attachedRound(): Promise<boolean> {
    const { sdc, turns } = this.#options;
    let worked = false;
    for (const id of sdc.known()) {
      if (this.#stop.signal.aborted || turns.isRepaired(id) || turns.isHeld(id)) continue;
      try {
        if (await this.#step(id)) worked = true;
        this.#complaints.delete(id);
      } catch (error) {
        // An engine that is being taken away answers no order.
        if (!turns.isHeld(id)) this.#complain(id, error);
      }
    }
    return worked;
  }

  async #step(id: Id): Promise<boolean> {
    const { sdc, mdm } = this.#options;
    const status = sdc.status(id);
    const volume = mdm.state.volumes.get(id);
    if (volume === undefined || status === undefined) return false;
    await this.#heed({ owner: volume, volumes: [volume] }, status, true);
    if (status.absorbed.length > 0 && status.layerId === ownLayer(volume).id)
      await this.#options.absorbed(status.layerId, status.absorbed);
    const disconnect = disconnectOf(this.#options.faults.faults, volume);
    // An engine looks at how long requests have waited when it is asked something.
    if (disconnect !== undefined && limitMsOf(disconnect) > 0) await sdc.work(id, 0);
    if (toDo(status) === 0 || this.#stuck.get(id) === fingerprint(status)) return false;
    const began = Date.now();
    const pace = this.#pace(id, status, began);
    const after = await sdc.work(id, pace.chunks);
    const rest = pace.rest(Date.now() - began, Math.max(0, status.staleCopies - after.staleCopies) * CHUNK_BYTES);
    await pause(rest, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    if (fingerprint(after) !== fingerprint(status)) return true;
    this.#stuck.set(id, fingerprint(after));
    return false;
  }

  /** By what applications have done since the last step. */
  #pace(id: Id, { degradedChunks, requests, bytes }: EngineStatus, now: number): Pace {
    const { policies, mdm } = this.#options;
    const last = this.#throttles.get(id) ?? { throttle: new Throttle(), at: 0, requests: 0, bytes: 0 };
    // A new engine counts from nothing.
    const since = requests < last.requests ? { requests: 0, bytes: 0 } : last;
    this.#throttles.set(id, { throttle: last.throttle, at: now, requests, bytes });
    const devices = mdm.state.pool.deviceIds.filter((device) => device !== "").length;
    const perDeviceSecond = (Math.max(1, now - last.at) / 1000) * devices;
    const load = {
      iops: (requests - since.requests) / perDeviceSecond,
      kbps: (bytes - since.bytes) / 1024 / perDeviceSecond,
    };
    return last.throttle.pace(degradedChunks > 0 ? policies.rebuild : policies.rebalance, load, devices, now);
  }

  /** What an engine has found out about devices and about what they hold. */
  async #heed(
    { owner, volumes }: Pick<Layer, "owner" | "volumes">,
    status: EngineStatus,
    attached = false,
  ): Promise<void> {
    for (const failure of status.failedDevices) await this.#options.deviceFailed(failure, status.mapVersion);
    const volume = owner ?? volumes[0];
    if (volume !== undefined && status.badBlocks.length + status.fixedBlocks > 0)
      await this.#options.badBlocks(volume.id, status, attached);
  }

  /** Says the same thing of a volume once, not every half second. */
  #complain(id: Id, error: unknown): void {
    const words = error instanceof Error ? error.message : String(error);
    if (this.#complaints.get(id) !== words) this.#options.log(`volume ${id}: ${words}`);
    this.#complaints.set(id, words);
  }

  async #unmountedRound(): Promise<void> {
    const { stateDir, turns } = this.#options;
    const slices = new Slices({ background: true });
    for (const unit of this.#queue) {
      await slices.next();
      if (this.#stop.signal.aborted) return;
      const layer = this.#layer(unit);
      if (layer === undefined || (await this.#isAttached(layer))) {
        this.#queue.delete(unit);
        this.#conditions.delete(unit);
        continue;
      }
      if (turns.isHeld(unit) || !this.#queue.delete(unit)) continue;
      const session = this.#session(layer);
      const condition = assess(stateDir, layer, session);
      this.#note(unit, condition);
      if (condition.problem === "" && layer.absorb > 0 && condition.absorbing === 0) {
        await this.#absorbed(layer);
        // Somebody may have attached it meanwhile.
        this.#queue.add(unit);
        return;
      }
      if (condition.problem !== "" || toDo(condition) === 0) continue;
      // Nothing was waited for since the look at who holds it: from here on, whoever wants it waits for us.
      const status = await this.#repair(session).catch((error) => {
        this.#options.log(`repair of ${unit}: ${error instanceof Error ? error.message : String(error)}`);
        return undefined;
      });
      if (status !== undefined) await this.#heed(layer, status);
      if (this.#layer(unit) === undefined) return;
      if (status?.garbage === 0) this.#cleared.set(unit, session.mapVersion);
      const garbage = status?.garbage ?? condition.garbage;
      this.#note(unit, { ...assess(stateDir, layer, session), garbage });
      if (status !== undefined && status.absorbed.length > 0) await this.#absorbed(layer);
      // Volumes that are attached must not wait for a long queue of others.
      return;
    }
  }

  /** The scan that was asked for first. True when there was one. */
  async #scanRound(): Promise<boolean> {
    const order = this.#scans.shift();
    if (order === undefined) return false;
    const { unit, first, chunks, resolve, reject } = order;
    try {
      const layer = this.#layer(unit);
      const free = layer !== undefined && !(await this.#isAttached(layer)) && !this.#options.turns.isHeld(unit);
      const status = free ? await this.#repair({ ...this.#session(layer), scan: { first, chunks } }) : undefined;
      if (layer !== undefined && status !== undefined) await this.#heed(layer, status);
      resolve(status);
      if (free) this.look(unit);
    } catch (error) {
      reject(error);
    }
    return true;
  }

  async #isAttached({ owner }: Layer): Promise<boolean> {
    return owner !== undefined && (await this.#options.sdc.device(owner.id)) !== undefined;
  }

  #absorbed(layer: Layer): Promise<void> {
    return this.#options.absorbed(
      layer.id,
      layer.lower.slice(0, layer.absorb).map(({ id }) => id),
    );
  }

  #layer(unit: string): Layer | undefined {
    const { volumes } = this.#options.mdm.state;
    if (unit.startsWith("layer-")) {
      const layer = allLayers(volumes.values()).get(unit.slice("layer-".length));
      return layer?.owner === undefined ? layer : undefined;
    }
    const volume = volumes.get(unit);
    return volume && allLayers(familyOf(volumes.values(), volume)).get(ownLayer(volume).id);
  }

  /** Engines that read a frozen layer must have heard of the map before copies are given up by it. */
  #session(layer: Layer): Session {
    const { mdm, stateDir, sdc, faults } = this.#options;
    const session = sessionOf(mdm.state, stateDir, layer, faults);
    const known = new Set(sdc.known());
    const giveUp =
      layer.owner !== undefined ||
      layer.volumes.every(({ id }) => !known.has(id) || sdc.status(id)?.mapVersion === session.mapVersion);
    return { ...session, giveUp };
  }

  /** Undefined: it was broken off. Throws what the engine throws. */
  #repair(session: Session): Promise<EngineStatus | undefined> {
    const { sdc, turns } = this.#options;
    return turns.run(session.volumeId, (signal) => sdc.repair(session, signal));
  }

  #note(unit: string, condition: Condition): void {
    if (condition.problem === "" && toDo(condition) === 0) this.#conditions.delete(unit);
    else this.#conditions.set(unit, condition);
  }
}

const fingerprint = (status: EngineStatus) =>
  `${status.staleCopies}/${status.unsyncedChunks}/${status.garbage}/${status.absorbing}/${status.mapVersion}`;
