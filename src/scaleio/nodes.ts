import { setTimeout as pause } from "node:timers/promises";
import { SimError } from "../lib/errors.ts";
import type { FaultSpec } from "../lib/fault.ts";
import type { DeviceRequest, SdsRequest } from "./cluster-api.ts";
import type { DeviceHealth } from "./device-health.ts";
import { stopOf } from "./faults/sds-stop.ts";
import type { Mdm } from "./mdm/mdm.ts";
import { findDevice, findSds, type Membership } from "./membership.ts";
import type { ClusterStatus, Sds, SystemState } from "./model.ts";
import { SLOTS } from "./pool/plan.ts";

/** So long (ms) maintenance waits for what is on the move to get where it is to be, and looks as often. */
const PREPARE_MS = 10_000;
const ROUND_MS = 100;
/** Who moves copies may be at something that takes minutes. */
const MOVED_MS = 5000;

export interface NodesOptions {
  readonly mdm: Pick<Mdm, "state" | "checkCurrent" | "commit">;
  readonly health: Pick<DeviceHealth, "clear">;
  readonly membership: Membership;
  /** Those that are there now. */
  readonly faults: () => readonly FaultSpec[];
  readonly status: () => Promise<ClusterStatus>;
  /** Resolves when copies have got the places that they are to have by now. */
  readonly moved: () => Promise<void>;
  /** So long (ms) an order waits for that. */
  readonly patienceMs?: number;
  /** Engines are to be told. */
  readonly tell: () => Promise<void>;
  /** Engines are to be told, and there may be something to repair. */
  readonly changed: () => Promise<void>;
}

/** What users order of nodes and devices (cluster-api.ts). */
export class Nodes {
  readonly #options: NodesOptions;
  /** Name of the node that is going into maintenance. */
  #preparing: string | undefined;

  constructor(options: NodesOptions) {
    this.#options = options;
  }

  async stopSds(name: string): Promise<void> {
    this.#options.mdm.checkCurrent();
    const sds = findSds(this.#options.mdm.state, name);
    if (sds.maintenance === true) await this.#options.mdm.commit({ type: "sds-maintenance", name, on: false });
    if (sds.state !== "stopped")
      await this.#options.mdm.commit({ type: "sds-state", name, state: "stopped", since: now() });
    // What has stood in for it is to be completed.
    await (sds.maintenance === true ? this.#options.changed() : this.#options.tell());
  }

  async startSds(name: string): Promise<void> {
    this.#options.mdm.checkCurrent();
    const sds = findSds(this.#options.mdm.state, name);
    const fault = stopOf(this.#options.faults(), name);
    if (fault !== undefined)
      throw new SimError(
        "unavailable",
        `${name} cannot be started: fault ${fault.name} keeps it stopped; \`rexray-sim fault rm ${fault.name}\` brings it back`,
      );
    await this.#options.health.clear(sds, sds.devices);
    if (sds.state !== "up") await this.#options.mdm.commit({ type: "sds-state", name, state: "up", since: now() });
    if (sds.maintenance === true) {
      await this.#options.mdm.commit({ type: "sds-maintenance", name, on: false });
      // Before anybody completes what has stood in for it, which mostly takes more than what it has missed.
      await this.#moved();
    }
    await this.#options.changed();
  }

  async maintainSds(name: string): Promise<void> {
    this.#options.mdm.checkCurrent();
    const sds = findSds(this.#options.mdm.state, name);
    if (sds.maintenance === true && sds.state !== "up") return;
    await this.#checkHealth(name);
    const other = this.#preparing ?? this.#options.mdm.state.sds.find(({ maintenance }) => maintenance === true)?.name;
    if (other !== undefined && (other !== name || this.#preparing === name))
      throw new SimError(
        "unavailable",
        `${name} cannot go into maintenance: ${other} is on its way there; wait for that`,
      );
    this.#preparing = name;
    try {
      await this.#options.mdm.commit({ type: "sds-maintenance", name, on: true });
      await this.#prepare(sds);
      if (findSds(this.#options.mdm.state, name).maintenance !== true)
        throw new SimError("unavailable", `${name} does not go into maintenance: it was started or stopped meanwhile`);
      await this.#options.mdm.commit({ type: "sds-state", name, state: "stopped", since: now() });
      await this.#options.tell();
    } finally {
      this.#preparing = undefined;
    }
  }

  /** An order to rest that a former daemon has not carried out to the end has not been given. */
  async begin(): Promise<void> {
    for (const { name, state, maintenance } of this.#options.mdm.state.sds)
      if (maintenance === true && state === "up")
        await this.#options.mdm.commit({ type: "sds-maintenance", name, on: false });
  }

  /** Copies have got their places, or that takes too long to be waited for: then they get them later. */
  async #moved(): Promise<void> {
    const waiting = new AbortController();
    const late = pause(this.#options.patienceMs ?? MOVED_MS, undefined, { signal: waiting.signal }).catch(
      () => undefined,
    );
    try {
      await Promise.race([this.#options.moved(), late]);
    } finally {
      waiting.abort();
    }
  }

  async #checkHealth(name: string): Promise<void> {
    const { health, reasons } = await this.#options.status();
    if (health === "ok") return;
    throw new SimError(
      "unavailable",
      `${name} cannot go into maintenance while the health is ${health} (${reasons.join("; ")}): wait for the rebuild, or mend that first`,
    );
  }

  /** What is written from the moment on when the node goes has another place already. Throws as checkHealth, and takes it back. */
  async #prepare(sds: Sds): Promise<void> {
    const end = Date.now() + PREPARE_MS;
    await this.#moved();
    // A place is free when what was there before has been given up.
    while (isRetiring(this.#options.mdm.state, sds) && Date.now() < end) {
      await pause(ROUND_MS);
      await this.#moved();
    }
    await this.#moved();
    try {
      await this.#checkHealth(sds.name);
    } catch (error) {
      await this.#options.mdm.commit({ type: "sds-maintenance", name: sds.name, on: false });
      await this.#options.changed();
      throw error;
    }
  }

  async addSds(request: SdsRequest): Promise<void> {
    this.#options.mdm.checkCurrent();
    await this.#options.membership.addSds(request);
    await this.#options.changed();
  }

  async removeSds(name: string): Promise<void> {
    this.#options.mdm.checkCurrent();
    await this.#options.membership.removeSds(name);
    await this.#options.changed();
  }

  async abortRemoval(name: string): Promise<void> {
    this.#options.mdm.checkCurrent();
    await this.#options.membership.abortRemoval(name);
    await this.#options.changed();
  }

  async addDevice(sds: string, request: DeviceRequest): Promise<void> {
    this.#options.mdm.checkCurrent();
    await this.#options.membership.addDevice(sds, request);
    await this.#options.changed();
  }

  async resizeDevice(sds: string, device: string, bytes: number): Promise<void> {
    this.#options.mdm.checkCurrent();
    await this.#options.membership.resizeDevice(sds, device, bytes);
    await this.#options.changed();
  }

  async removeDevice(sds: string, device: string): Promise<void> {
    this.#options.mdm.checkCurrent();
    await this.#options.membership.removeDevice(sds, device);
    await this.#options.changed();
  }

  async clearDevice(sdsName: string, deviceName: string): Promise<void> {
    this.#options.mdm.checkCurrent();
    const sds = findSds(this.#options.mdm.state, sdsName);
    await this.#options.health.clear(sds, [findDevice(sds, deviceName)]);
    await this.#options.changed();
  }
}

/** Whether copies of groups that the node has a part in are being given up. */
function isRetiring({ pool }: SystemState, { devices }: Sds): boolean {
  const places = new Set(devices.map(({ id }) => pool.deviceIds.indexOf(id)));
  return pool.groups.some((group) => group[3] !== 0 && SLOTS.some((slot) => places.has(group[slot])));
}

const now = () => new Date().toISOString();
