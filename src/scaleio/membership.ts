import path from "node:path";
import { errnoOf, SimError } from "../lib/errors.ts";
import { inContainer } from "../lib/machine-paths.ts";
import { makeDirectory } from "../lib/make-directory.ts";
import type { DeviceRequest, SdsRequest } from "./cluster-api.ts";
import { idOf } from "./founding.ts";
import type { Mdm } from "./mdm/mdm.ts";
import { CHUNK_BYTES, type Device, type Id, type Sds, type SystemState } from "./model.ts";
import { mirrorableBytes } from "./pool/shares.ts";
import { createLabel, removeLabel } from "./sds/device-label.ts";
import { removeVolumeFile, volumeIdsOn } from "./sds/volume-files.ts";

export interface MembershipOptions {
  readonly stateDir: string;
  readonly mdm: Mdm;
  /** A number for an id that nobody has. */
  readonly nextNumber: () => number;
  /** What volumes take, set aside or written, both copies. */
  readonly inUseBytes: () => Promise<number>;
  readonly log: (message: string) => void;
}

/** ScaleIO's names, as the configuration checks them. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,30}$/;
/** Two copies, and a place for a new one when one is lost. */
const FEWEST_UNITS = 3;

/**
 * Nodes and devices that come, go, or are away for maintenance (spec/scaleio.md 1.7, 1.8). Each order is a change of the
 * MDM's tables; the mover does the rest. Directories and labels are made before the MDM's word and removed after it, so that
 * a death in between leaves an unused directory and never a device without one.
 */
export class Membership {
  readonly #options: MembershipOptions;

  constructor(options: MembershipOptions) {
    this.#options = options;
  }

  get #state(): SystemState {
    return this.#options.mdm.state;
  }

  /** Throws already_exists, invalid_argument, in_use, no_quorum. */
  async addSds(request: SdsRequest): Promise<void> {
    checkName("SDS", request.name);
    if (this.#state.sds.some(({ name }) => name === request.name))
      throw new SimError("already_exists", `there is an SDS called "${request.name}" already: choose another name`);
    const faultSet = request.faultSet ?? request.name;
    checkName("fault set", faultSet);
    const id = this.#id();
    const device = this.#newDevice(request.name, { name: "dev-1", path: request.path, sizeBytes: request.sizeBytes });
    const sds: Sds = { id, name: request.name, faultSet, state: "up", devices: [device] };
    await this.#options.mdm.commit({ type: "sds-added", sds, lastId: numberOf(device.id) });
  }

  /** Throws not_found, already_exists, invalid_argument, in_use, no_quorum. */
  async addDevice(sdsName: string, request: DeviceRequest): Promise<void> {
    const sds = findSds(this.#state, sdsName);
    checkName("device", request.name);
    if (sds.devices.some(({ name }) => name === request.name))
      throw new SimError("already_exists", `${sdsName} has a device called "${request.name}": choose another name`);
    const device = this.#newDevice(sdsName, request);
    await this.#options.mdm.commit({ type: "device-added", sds: sdsName, device, lastId: numberOf(device.id) });
  }

  /** Begins to empty a node; it goes when its devices are empty. Throws not_found, no_capacity, no_quorum. */
  async removeSds(name: string): Promise<void> {
    const sds = findSds(this.#state, name);
    await this.#checkRest(sds.devices, "removed", `SDS ${name}`);
    await this.#options.mdm.commit({ type: "sds-leaving", name, leaving: true });
    for (const { id } of sds.devices) await this.#options.mdm.commit({ type: "device-leaving", id, leaving: true });
    if (sds.devices.length === 0) await this.#options.mdm.commit({ type: "sds-removed", name });
  }

  /** Begins to empty a device; it goes when it is empty. Throws not_found, no_capacity, no_quorum. */
  async removeDevice(sdsName: string, deviceName: string): Promise<void> {
    const device = findDevice(findSds(this.#state, sdsName), deviceName);
    await this.#checkRest([device], "removed", `device ${sdsName}/${deviceName}`);
    await this.#options.mdm.commit({ type: "device-leaving", id: device.id, leaving: true });
  }

  /**
   * Gives a device another simulated capacity; its share of the copies follows. Throws not_found, invalid_argument,
   * no_capacity, no_quorum.
   */
  async resizeDevice(sdsName: string, deviceName: string, bytes: number): Promise<void> {
    const device = findDevice(findSds(this.#state, sdsName), deviceName);
    const capacityBytes = wholeChunks(bytes);
    if (capacityBytes < device.capacityBytes)
      await this.#checkRest([device], "made so small", `device ${sdsName}/${deviceName}`, [
        { ...device, capacityBytes },
      ]);
    await this.#options.mdm.commit({ type: "device-resized", id: device.id, capacityBytes });
  }

  /** Takes back a removal that has not ended; what has moved stays where it is. Throws not_found, no_quorum. */
  async abortRemoval(sdsName: string): Promise<void> {
    const sds = findSds(this.#state, sdsName);
    for (const { id, leaving } of sds.devices)
      if (leaving === true) await this.#options.mdm.commit({ type: "device-leaving", id, leaving: false });
    if (sds.leaving === true) await this.#options.mdm.commit({ type: "sds-leaving", name: sdsName, leaving: false });
  }

  /** Devices of which the map knows nothing any more: they go for good, and their files with them. */
  async finishRemovals(deviceIds: readonly Id[]): Promise<void> {
    const { mdm, log } = this.#options;
    for (const sds of this.#state.sds) {
      for (const device of sds.devices.filter(({ id }) => deviceIds.includes(id))) {
        await mdm.commit({ type: "device-removed", id: device.id });
        for (const id of volumeIdsOn(device)) removeVolumeFile(device, id);
        removeLabel(device.path);
        log(`device ${sds.name}/${device.name} is empty and has been removed`);
      }
    }
    for (const { name, leaving, devices } of this.#state.sds) {
      if (leaving !== true || devices.length > 0) continue;
      await mdm.commit({ type: "sds-removed", name });
      log(`${name} has been removed`);
    }
  }

  #newDevice(sdsName: string, { name, path: directory, sizeBytes }: DeviceRequest): Device {
    if (directory !== undefined && !path.isAbsolute(directory))
      throw new SimError("invalid_argument", `the device directory "${directory}" is not absolute: begin it with /`);
    const own = () => path.join(this.#options.stateDir, "sds", sdsName, name);
    const place = directory === undefined ? own() : inContainer(directory);
    if (this.#state.sds.some((sds) => sds.devices.some((device) => device.path === place)))
      throw new SimError("in_use", `${place} is a device already: name another directory`);
    const capacity = sizeBytes ?? this.#state.sds.flatMap(({ devices }) => devices)[0]?.capacityBytes ?? 0;
    const capacityBytes = wholeChunks(capacity);
    const id = this.#id();
    try {
      makeDirectory(place);
    } catch (error) {
      throw new SimError(
        "invalid_argument",
        `${place} cannot be made a directory (${errnoOf(error)}): name another one`,
      );
    }
    createLabel(place, { systemId: this.#state.systemId, sdsName, deviceId: id });
    return { id, name, path: place, capacityBytes, state: "up", reason: "" };
  }

  #id(): Id {
    return idOf(this.#state.systemId, this.#options.nextNumber());
  }

  /** What stays, as far as it is up, must be able to hold it all, twice (spec/scaleio.md 1.7: 67), and survive one more loss (306). */
  async #checkRest(
    going: readonly Device[],
    becoming: string,
    what: string,
    instead: readonly Device[] = [],
  ): Promise<void> {
    const inUse = await this.#options.inUseBytes();
    const gone = new Set(going.map(({ id }) => id));
    const rest = this.#state.sds
      .filter(({ state }) => state === "up")
      .flatMap(({ faultSet, devices }) =>
        devices
          .flatMap((device) => (gone.has(device.id) ? instead : [device]))
          .filter(({ leaving, state }) => leaving !== true && state === "up")
          .map(({ capacityBytes }) => ({ faultUnit: faultSet, capacityBytes })),
      );
    const units = new Set(rest.map(({ faultUnit }) => faultUnit)).size;
    if (units < FEWEST_UNITS) {
      throw new SimError(
        "no_capacity",
        `${what} cannot be ${becoming}: ${units} fault units would be left, and ${FEWEST_UNITS} are needed; add an SDS first (\`rexray-sim sds add NAME\`)`,
      );
    }
    const room = mirrorableBytes(rest);
    if (inUse > room) {
      throw new SimError(
        "no_capacity",
        `${what} cannot be ${becoming}: ${mib(inUse)} are in use, and with two copies in different fault units the rest holds ${mib(room)}; add capacity or remove volumes first`,
      );
    }
  }
}

/** Devices that can take new files. */
export const liveDevices = ({ sds }: SystemState): { sds: Sds; device: Device }[] =>
  sds
    .filter(({ state }) => state === "up")
    .flatMap((node) => node.devices.filter(({ state }) => state === "up").map((device) => ({ sds: node, device })));

/** Throws not_found, and says which there are. */
export function findSds(state: SystemState, name: string): Sds {
  const sds = state.sds.find((candidate) => candidate.name === name);
  if (sds !== undefined) return sds;
  const names = state.sds.map((candidate) => candidate.name).join(", ");
  throw new SimError("not_found", `no SDS is called "${name}"; there are ${names}`);
}

/** Throws not_found, and says which there are. */
export function findDevice(sds: Sds, name: string): Device {
  const device = sds.devices.find((candidate) => candidate.name === name);
  if (device !== undefined) return device;
  const there = sds.devices.map((candidate) => candidate.name).join(", ") || "none";
  throw new SimError("not_found", `${sds.name} has no device "${name}"; it has ${there}`);
}

/** A device's capacity, rounded down. Throws invalid_argument. */
function wholeChunks(bytes: number): number {
  const capacityBytes = bytes - (bytes % CHUNK_BYTES);
  if (capacityBytes > 0) return capacityBytes;
  throw new SimError("invalid_argument", `a device of ${bytes} bytes is too small: it holds chunks of 1 MiB`);
}

function checkName(what: string, name: string): void {
  if (NAME.test(name)) return;
  throw new SimError(
    "invalid_argument",
    `"${name}" is no name for a ${what}: 1 to 31 letters, digits, "_", "." and "-", a letter or digit first`,
  );
}

const numberOf = (id: Id) => Number.parseInt(id.slice(8), 16);
const mib = (bytes: number) => `${Math.ceil(bytes / 1024 ** 2)} MiB`;
