import { Rounds } from "../lib/rounds.ts";
import { Slices } from "../lib/slices.ts";
import { assess, type Condition, toDo } from "./condition.ts";
import { Conditions } from "./conditions.ts";
import type { FaultBook } from "./faults/fault-book.ts";
import { disconnectOf, limitMsOf } from "./faults/sdc-disconnect.ts";
import { allLayers, familyOf, type Layer, layerWith, ownLayer } from "./layers.ts";
import type { Mdm } from "./mdm/mdm.ts";
import type { Id, VolumeRecord } from "./model.ts";
import { Pacer, type PacerOptions } from "./pacer.ts";
import { RepairOrder } from "./repair-order.ts";
import type { RepairTurns } from "./repair-turns.ts";
import type { RepairEngine, Sdc } from "./sdc/sdc.ts";
import type { EngineStatus, Session } from "./sdc/session.ts";
import { sessionOf, unitOf } from "./sessions.ts";

/** How long it goes on with layers that are not attached before others have their turn (ms). */
const TURN_MS = 2000;
/** Rounds between two attempts to bring a failed MDM member back, or to look after a layer whose engine failed. */
const RETRY_ROUNDS = 10;

export interface RepairerOptions {
  readonly stateDir: string;
  readonly sdc: Pick<Sdc, "known" | "status" | "device" | "work" | "repair" | "traffic">;
  readonly mdm: Pick<Mdm, "state" | "repair">;
  readonly turns: RepairTurns;
  readonly faults: Pick<FaultBook, "on" | "faults">;
  readonly policies: PacerOptions["policies"];
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
  /** What is known of the layers without an engine; here it is kept up. */
  readonly known = new Conditions();
  readonly #stop = new AbortController();
  readonly #order = new RepairOrder();
  /** Units whose repair failed. */
  readonly #failed = new Set<string>();
  readonly #complaints = new Map<string, string>();
  /** Since the repair that is under way began, something has changed that engines go by. */
  #changed = false;
  readonly #scans: ScanOrder[] = [];
  readonly #pacer: Pacer;
  readonly #rounds: Rounds;
  /** Who waits for the next round of moves. */
  readonly #waiting: (() => void)[] = [];
  #round = 0;
  #running: Promise<unknown> | undefined;

  constructor(options: RepairerOptions) {
    const { policies, sdc, mdm } = options;
    this.#options = options;
    this.#rounds = new Rounds(this.#stop.signal, (error) =>
      options.log(`repair: ${error instanceof Error ? error.message : String(error)}`),
    );
    this.#pacer = new Pacer({
      policies,
      traffic: () => sdc.traffic(),
      devices: () => mdm.state.pool.deviceIds.filter((id) => id !== "").length,
      signal: this.#stop.signal,
    });
    options.turns.onTaken((unit) => this.known.opened(unit));
  }

  start(): void {
    this.lookAtAll();
    this.#running = Promise.all([
      this.#rounds.run(() => this.#attachedRound()),
      this.#rounds.run(() => this.#unattachedRound()),
    ]);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#options.turns.stop();
    this.#rounds.wake();
    await this.#running;
    for (const { resolve } of this.#scans.splice(0)) resolve(undefined);
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** Resolves when copies have been moved about once from now on; at once when nobody does that. */
  moved(): Promise<void> {
    if (this.#running === undefined || this.#stop.signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#rounds.wake();
    });
  }

  /** Something has changed that engines go by, besides the map. */
  changed(): void {
    this.#changed = true;
  }

  /** Whether layers wait to be looked at. */
  get busy(): boolean {
    return this.#order.size > 0;
  }

  /** Whether this layer does. */
  isQueued(unit: string): boolean {
    return this.#order.has(unit);
  }

  /** Something may have changed for this unit. */
  look(unit: string): void {
    this.#order.look(unit);
  }

  lookAtAll(): void {
    this.lookAtLayersOf(this.#options.mdm.state.volumes.values());
  }

  lookAtLayersOf(volumes: Iterable<VolumeRecord>): void {
    for (const layer of allLayers(volumes).values()) this.look(unitOf(layer));
  }

  forget(unit: string): void {
    this.#order.forget(unit);
    this.known.forget(unit);
    this.#failed.delete(unit);
    this.#complaints.delete(unit);
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
    if (status === undefined) return this.known.of(unit);
    const { staleCopies, degradedChunks, unsyncedChunks, garbage, absorbing } = status;
    return { staleCopies, degradedChunks, unsyncedChunks, garbage, absorbing, problem: "" };
  }

  /** One step for every attached volume that needs it. True when some copy was made good. */
  async #attachedRound(): Promise<boolean> {
    this.#order.nextRound();
    // Each says what it has to do before the first one waits for anything.
    const worked = await Promise.all(this.#options.sdc.known().map((id) => this.#attachedStep(id)));
    // Whoever moves copies may have waited for that.
    if (worked.includes(true)) this.#rounds.wake();
    return worked.includes(true);
  }

  async #attachedStep(id: Id): Promise<boolean> {
    const { turns } = this.#options;
    if (this.#stop.signal.aborted || turns.isRepaired(id) || turns.isHeld(id)) return false;
    try {
      const worked = await this.#step(id);
      this.#complaints.delete(id);
      return worked;
    } catch (error) {
      // An engine that is being taken away answers no order.
      if (!turns.isHeld(id)) this.#complain(id, error);
      return false;
    }
  }

  async #step(id: Id): Promise<boolean> {
    const { sdc, mdm } = this.#options;
    const status = sdc.status(id);
    const volume = mdm.state.volumes.get(id);
    if (volume === undefined || status === undefined) return false;
    if (!this.#complaints.has(id)) this.#order.note(id, status);
    await this.#heed({ owner: volume, volumes: [volume] }, status, true);
    if (status.absorbed.length > 0 && status.layerId === ownLayer(volume).id)
      await this.#options.absorbed(status.layerId, status.absorbed);
    const disconnect = disconnectOf(this.#options.faults.faults, volume);
    // An engine looks at how long requests have waited when it is asked something.
    if (disconnect !== undefined && limitMsOf(disconnect) > 0) await sdc.work(id, 0);
    if (!this.#order.isItsTurn(id, status)) return false;
    const after = await this.#pacer.step(status, (chunks) => sdc.work(id, chunks));
    return this.#order.stepped(id, status, after);
  }

  async #unattachedRound(): Promise<boolean> {
    const repaired = await this.#repairRound();
    const scanned = await this.#scanRound();
    const waiting = this.#waiting.splice(0);
    const moved = await this.#options.move().finally(() => {
      for (const resolve of waiting) resolve();
    });
    if (++this.#round % RETRY_ROUNDS === 0) {
      await this.#options.mdm.repair();
      for (const unit of this.#failed) this.#order.add(unit);
      this.#failed.clear();
    }
    return repaired || scanned || moved;
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

  /** Looks after the layers in the queue for a while. True when there was something to do for one. */
  async #repairRound(): Promise<boolean> {
    const slices = new Slices({ background: true });
    const end = Date.now() + TURN_MS;
    let worked = false;
    for (const unit of this.#order) {
      await slices.next();
      if (this.#stop.signal.aborted || this.#scans.length + this.#waiting.length > 0 || Date.now() > end) return worked;
      const layer = this.#layer(unit);
      if (layer === undefined || (await this.#isAttached(layer))) {
        this.#order.delete(unit);
        this.known.attached(unit);
        // Nobody says when an engine that was told to has left a layer.
        if (layer !== undefined && layer.owner === undefined) this.#failed.add(unit);
        continue;
      }
      if (this.#options.turns.isHeld(unit) || !this.#order.delete(unit)) continue;
      if (await this.#lookAfter(unit)) worked = true;
    }
    return worked;
  }

  /** True when there was something to do. Nobody holds the unit, and nothing has been waited for since that was looked at. */
  async #lookAfter(unit: string): Promise<boolean> {
    const layer = this.#layer(unit);
    if (layer === undefined) return false;
    const session = this.#session(layer);
    const condition = assess(this.#options.stateDir, layer, session);
    this.known.note(unit, session.mapVersion, condition);
    if (condition.problem === "" && layer.absorb > 0 && condition.absorbing === 0) {
      await this.#absorbed(layer);
      // Somebody may have attached it meanwhile.
      this.#order.add(unit);
      return false;
    }
    if (condition.problem !== "" || toDo(condition) === 0) return false;
    if (layer.owner === undefined && condition.unsyncedChunks > 0 && this.#isBelowEngine(layer)) {
      this.#failed.add(unit);
      return false;
    }
    if (this.#order.postpones(unit, condition)) return false;
    let status: EngineStatus | undefined;
    try {
      // From here on, whoever wants it waits for us.
      status = await this.#repair(session, (engine) => this.#makeGood(session, engine));
    } catch (error) {
      this.#complain(unit, error);
      this.#failed.add(unit);
      return false;
    }
    this.#complaints.delete(unit);
    if (status === undefined) return true;
    // At once: whoever has it from now on changes it.
    if (!this.#options.turns.isHeld(unit)) {
      const { garbage } = status;
      this.known.note(unit, session.mapVersion, { ...assess(this.#options.stateDir, layer, session), garbage });
    }
    await this.#heed(layer, status);
    if (this.#layer(unit) !== undefined && status.absorbed.length > 0) await this.#absorbed(layer);
    return true;
  }

  /** As far as the devices allow, unless that takes long or things change: then it is its turn again later. */
  async #makeGood(session: Session, engine: RepairEngine): Promise<void> {
    const end = Date.now() + TURN_MS;
    let { status } = engine;
    while (toDo(status) > 0) {
      if (this.#order.postpones(session.volumeId, status)) return;
      const before = status;
      status = await this.#pacer.step(before, (chunks) => engine.work(chunks));
      if (!this.#order.goesOn(before, status)) return;
      const changed = this.#changed || session.mapVersion !== this.#options.mdm.state.pool.mapVersion;
      if (toDo(status) === 0 || (!changed && Date.now() < end)) continue;
      this.#order.add(session.volumeId);
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
      const status = free
        ? await this.#repair(this.#session(layer), (engine) => engine.scan(first, chunks))
        : undefined;
      if (layer !== undefined && status !== undefined) await this.#heed(layer, status);
      resolve(status);
      if (free) this.look(unit);
    } catch (error) {
      reject(error);
    }
    return true;
  }

  /**
   * Whether an engine has the layer open to write to it: its volume's, or one that has yet to go over to the layer above it, which
   * it has said when it has.
   */
  async #isAttached({ id, owner, volumes }: Layer): Promise<boolean> {
    const { sdc } = this.#options;
    if (owner !== undefined) return (await sdc.device(owner.id)) !== undefined;
    for (const volume of volumes)
      if (sdc.status(volume.id)?.layerId === id && (await sdc.device(volume.id)) !== undefined) return true;
    return false;
  }

  /** What an engine has left unsettled in a layer it settles itself when it can (block-store.ts); nobody else shares such a layer. */
  #isBelowEngine({ volumes }: Layer): boolean {
    const known = this.#options.sdc.known();
    return volumes.some(({ id }) => known.includes(id));
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
      const layer = layerWith(volumes.values(), unit.slice("layer-".length));
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

  /** Has an engine open the layer for the time of the task. Undefined: it was broken off. Throws what the engine throws. */
  #repair(session: Session, task: (engine: RepairEngine) => Promise<unknown>): Promise<EngineStatus | undefined> {
    const { sdc, turns } = this.#options;
    this.#changed = false;
    this.known.opened(session.volumeId);
    return turns.run(session.volumeId, (signal) => sdc.repair(session, signal, task));
  }
}
