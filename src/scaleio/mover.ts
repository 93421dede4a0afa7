import { Slices } from "../lib/slices.ts";
import { allLayers, type Layer } from "./layers.ts";
import type { Mdm } from "./mdm/mdm.ts";
import { type Group, type GroupTable, type Id, isResting, type SystemState } from "./model.ts";
import { splitGroups } from "./pool/placement.ts";
import { isOnThree, type PlannerDevice } from "./pool/plan.ts";
import { type GroupFacts, planMoves } from "./pool/planner.ts";
import type { Repairer } from "./repairer.ts";
import { readBooks } from "./sdc/books.ts";
import { BIT, COUNT, flatGroups, Layout, SLOTS } from "./sdc/layout.ts";
import type { Sdc } from "./sdc/sdc.ts";
import { unitOf } from "./sessions.ts";

/** A layer without an engine that could not give up its copies is not tried again at once: that costs a process. */
const ASK_AGAIN_MS = 5_000;

/** Asking all layers may take this part of the time. */
const SHARE = 20;

export interface MoverOptions {
  readonly stateDir: string;
  readonly mdm: Mdm;
  /** How long a node that may come back is waited for before its copies are made anew elsewhere (ms). */
  readonly rebuildGraceMs: number;
  readonly sdc: Sdc;
  readonly repairer: Pick<Repairer, "busy" | "known" | "isQueued" | "look">;
  /** Whether there is room for the third copies that balance and maintenance take for a while (spec/scaleio.md 1.4). */
  readonly hasRoom: () => Promise<boolean>;
  /** The map has changed: engines and repairer are to be told. */
  readonly changed: () => Promise<void>;
  /** Nothing of the pool lies on these devices any more. */
  readonly emptied: (deviceIds: readonly Id[]) => Promise<void>;
}

/**
 * Carries the planner's decisions out: asks the ledgers of all layers how far the copies of moving groups are, has the MDM
 * record what comes next, and has the engines told. It keeps nothing that is needed again, so a daemon that dies here is
 * replaced by one that looks at the same map and the same ledgers.
 *
 * What must hold: a slot gets another device only after every ledger says that the slot is stale, and when no engine can
 * still take it for the former device. Engines of attached volumes say which map they follow; engines of other layers do not
 * run while this does (repairer.ts).
 */
export class Mover {
  readonly #options: MoverOptions;
  /** When the layers may be asked again, if there are others to be looked after first. */
  #surveyAfter = 0;
  /** The map for which there was nothing to do. */
  #idleAt = 0;
  /** When the first node that is waited for has been waited for long enough. */
  #graceEnds = Number.POSITIVE_INFINITY;
  /** When a unit without an engine was last put up for giving up its retired copies. */
  readonly #asked = new Map<string, number>();

  constructor(options: MoverOptions) {
    this.#options = options;
  }

  /** Whether nothing is to be moved by the present map: balance is as good as it can be. */
  get isSettled(): boolean {
    const { state } = this.#options.mdm;
    return this.#idleAt === state.pool.mapVersion && !isMoving(state.pool.groups, plannerDevices(state));
  }

  /** Decides and records the next moves. True when there were any. Throws no_quorum. */
  async round(): Promise<boolean> {
    const { mdm } = this.#options;
    const { pool } = mdm.state;
    const moving = isMoving(pool.groups, plannerDevices(mdm.state));
    const now = Date.now();
    if (!moving && this.#idleAt === pool.mapVersion && now < this.#graceEnds) return false;
    // While layers wait to be looked after there is seldom news, and asking all of them costs time.
    if (moving && this.#options.repairer.busy && performance.now() < this.#surveyAfter) return false;
    const ends = graceEnds(mdm.state, this.#options.rebuildGraceMs);
    const waited = new Map([...ends].filter(([, end]) => end > now));
    this.#graceEnds = Math.min(...waited.values());
    const devices = plannerDevices(mdm.state, new Set(waited.keys()));
    const facts = moving ? await this.#survey(mdm.state) : noFacts(pool.groups.length);
    const thirds = await this.#options.hasRoom();
    // The survey took a while.
    if (mdm.state.pool.mapVersion !== pool.mapVersion) return true;
    const home = devices.filter(({ standing }) => standing === "home");
    const finer = !moving && thirds ? splitGroups(pool.groups, home) : [];
    const moves = finer.length > 0 ? finer : planMoves(pool.groups, devices, facts, { thirds });
    if (moves.length === 0) {
      if (thirds) this.#idleAt = pool.mapVersion;
      const empty = leftBehind(mdm.state, devices);
      if (empty.length > 0) await this.#options.emptied(empty);
      return empty.length > 0;
    }
    await mdm.commit({ type: "groups-changed", groups: moves });
    await this.#options.changed();
    return true;
  }

  async #survey(state: SystemState): Promise<GroupFacts> {
    const began = performance.now();
    const { stateDir } = this.#options;
    const { groups, mapVersion } = state.pool;
    const facts = noFacts(groups.length);
    const flat = flatGroups(groups);
    const retiring = groups.some((group) => group[3] !== 0);
    const running = new Set(this.#options.sdc.known());
    const slices = new Slices({ background: true });
    for (const layer of allLayers(state.volumes.values()).values()) {
      if (this.#isSound(layer, running, mapVersion)) continue;
      const layout = new Layout(layer, flat);
      const cleared = !retiring || this.#cleared(layer, running, mapVersion);
      let states: Uint8Array | undefined;
      try {
        states = readBooks(stateDir, layer, layout, true).states;
      } catch {
        // Unreadable records: nothing may be believed of this layer's copies, so nothing of it moves.
      }
      tally(facts, layout, states, cleared);
      await slices.next();
    }
    const now = performance.now();
    this.#surveyAfter = now + SHARE * (now - began);
    return facts;
  }

  /**
   * Whether it is known without a look at its ledger that all copies of a layer are good and none is retired. What an engine that
   * serves said last may be old: its ledger is asked.
   */
  #isSound(layer: Layer, running: ReadonlySet<Id>, mapVersion: number): boolean {
    const isServed = layer.owner !== undefined && running.has(layer.owner.id);
    return !isServed && this.#options.repairer.known.soundBy(unitOf(layer)) === mapVersion;
  }

  /** Whether everything retired by this map has been given up by the layer, and nobody goes by an older map. */
  #cleared(layer: Layer, running: ReadonlySet<Id>, mapVersion: number): boolean {
    const unit = unitOf(layer);
    if (layer.owner === undefined || !running.has(layer.owner.id)) {
      if (this.#options.repairer.known.clearedBy(unit) === mapVersion) return true;
      const mayAsk = (this.#asked.get(unit) ?? 0) < Date.now() - ASK_AGAIN_MS;
      // Who asks again and again for what waits has others wait for ever.
      if (mayAsk && !this.#options.repairer.isQueued(unit)) {
        this.#asked.set(unit, Date.now());
        this.#options.repairer.look(unit);
      }
      return false;
    }
    const status = this.#options.sdc.status(layer.owner.id);
    return status !== undefined && status.mapVersion === mapVersion && status.garbage === 0;
  }
}

/**
 * Adds what the ledger of one layer says.
 *
 * @param states its chunks' states; undefined: nobody knows
 * @param cleared whether it has given up everything retired, as far as its ledger does not say otherwise
 */
export function tally(facts: GroupFacts, layout: Layout, states: Uint8Array | undefined, cleared: boolean): void {
  for (let chunk = 0; chunk < layout.chunks; chunk++) {
    const group = layout.group(chunk);
    const bad = states === undefined ? 7 : (states[chunk] as number);
    const retired = layout.retired(chunk);
    if (states === undefined || (retired !== 0 && (!cleared || (bad & retired) !== retired))) facts.held[group] = 1;
    if ((bad & layout.active(chunk)) === 0 || COUNT[layout.active(chunk)] === 0) continue;
    for (const slot of SLOTS) {
      const at = group * 3 + slot;
      if ((bad & BIT[slot]) !== 0) facts.stale[at] = (facts.stale[at] as number) + 1;
    }
  }
}

export const noFacts = (groups: number): GroupFacts => ({
  stale: new Uint32Array(groups * 3),
  held: new Uint8Array(groups),
});

/** Until when the devices of nodes that may come back are waited for. One that has failed is not. */
function graceEnds({ sds }: SystemState, graceMs: number): Map<Id, number> {
  const ends = new Map<Id, number>();
  for (const node of sds) {
    for (const { id, state, since } of node.devices) {
      const gone =
        node.state === "stopped" && state !== "failed" ? node.since : state === "decoupled" ? since : undefined;
      if (gone) ends.set(id, Date.parse(gone) + graceMs);
    }
  }
  return ends;
}

/** The places of the map in index order, as the planner sees them. `waitedFor`: devices whose return is waited for. */
export function plannerDevices(state: SystemState, waitedFor: ReadonlySet<Id> = new Set()): PlannerDevice[] {
  const standings = new Map<Id, PlannerDevice>();
  for (const sds of state.sds) {
    for (const device of sds.devices) {
      const up = sds.state === "up" && device.state === "up";
      const lost = waitedFor.has(device.id) ? "away" : "lost";
      const present = !up ? lost : device.leaving === true ? "leaving" : "home";
      // Also while its node is still there: it goes when all is prepared.
      const standing = isResting(sds, device) ? "resting" : present;
      standings.set(device.id, { capacityBytes: device.capacityBytes, faultUnit: sds.faultSet, standing });
    }
  }
  return state.pool.deviceIds.map((id) => standings.get(id) ?? { capacityBytes: 0, faultUnit: "", standing: "lost" });
}

/** Devices that are to leave and to which no group refers. */
function leftBehind(state: SystemState, devices: readonly PlannerDevice[]): Id[] {
  const used = new Uint8Array(devices.length);
  for (const group of state.pool.groups) for (const slot of SLOTS) if (group[slot] >= 0) used[group[slot]] = 1;
  const leaving = new Set(
    state.sds.flatMap(({ devices }) => devices.filter((device) => device.leaving).map(({ id }) => id)),
  );
  return state.pool.deviceIds.filter((id, index) => used[index] === 0 && leaving.has(id));
}

/** Whether something is on its way: what stands in for a copy that rests stays where it is, unless one of the others is lost. */
const isMoving = (groups: GroupTable, devices: readonly PlannerDevice[]) => {
  const has = (group: Group, standing: PlannerDevice["standing"]) =>
    SLOTS.some((slot) => devices[group[slot]]?.standing === standing);
  return groups.some((group) => group[3] !== 0 || (isOnThree(group) && (!has(group, "resting") || has(group, "lost"))));
};
