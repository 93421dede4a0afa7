import type { FaultSpec } from "../lib/fault.ts";
import { BadBlocks } from "./bad-blocks.ts";
import type { FaultBook } from "./faults/fault-book.ts";
import { isInjected } from "./faults/fault-type.ts";
import { DEVICE_FAULTS, faulty } from "./faults/types.ts";
import type { Change } from "./keep-alive.ts";
import type { Mdm } from "./mdm/mdm.ts";
import type { Device, Id, Sds, ServiceState } from "./model.ts";
import { nodeFiles } from "./sdc/files.ts";
import type { EngineStatus } from "./sdc/session.ts";
import { checkLabel, labelOf } from "./sds/device-label.ts";

export interface DeviceHealthOptions {
  readonly stateDir: string;
  readonly mdm: Mdm;
  readonly faults: () => FaultBook;
  /** Some device is in another state: engines, repairer and whoever watches are to be told. */
  readonly changed: () => Promise<void>;
  /** Blocks of a volume were found that did not hold what had been written. */
  readonly tell: (volume: Id, text: string) => void;
  readonly log: (message: string) => void;
}

interface Place {
  readonly sds: Sds;
  readonly device: Device;
}

/** What engines call it, and people. */
const nameOf = ({ sds, device }: Place) => `${sds.name}/${device.name}`;

/**
 * Which devices are out, and what brings them back.
 *
 * - One that is out of reach (a node that does not answer, a directory that is missing) is decoupled, and back as soon as it
 *   answers: it has not lied, and what it missed is on record. The same goes for a failure that was an injected fault, when the
 *   fault is taken away.
 * - One that could not read or write, or has lied, is failed, until a person says that it is well (`device clear`,
 *   `sds start`): it may do the same again, and only he knows what has been done about it.
 */
export class DeviceHealth {
  readonly #options: DeviceHealthOptions;
  readonly #badBlocks: BadBlocks;
  /** The first map in which a device is up again: engines that have not heard of it may still complain of what was before. */
  readonly #upSince = new Map<Id, number>();
  /** What has been told of a volume's bad blocks. */
  readonly #told = new Map<Id, string>();
  #complaint = "";

  constructor(options: DeviceHealthOptions) {
    this.#options = options;
    this.#badBlocks = new BadBlocks(options.stateDir, options.log);
  }

  /** At start: a device without its label is out. One that is out stays so: the keep-alives see whether it answers. */
  async check(): Promise<void> {
    for (const place of this.#places()) {
      if (place.device.state !== "up") continue;
      try {
        this.checkLabel(place);
      } catch (error) {
        await this.#become([place], "decoupled", wordsOf(error)).catch((late) =>
          this.#options.log(`device ${nameOf(place)}: ${late}`),
        );
      }
    }
  }

  /** Throws when it does not answer: the keep-alive's question. */
  probe(sds: Sds, device: Device): void {
    const files = faulty(nodeFiles, this.#options.faults().on(sds, device));
    files.close(files.open(labelOf(device.path)));
  }

  /** The keep-alives have found devices to be gone, or there again. */
  async heard(changes: readonly Change[]): Promise<void> {
    const back = changes.filter((change) => change.silence === "" && this.#isItself(change));
    const gone = changes.filter(({ silence }) => silence !== "");
    try {
      await Promise.all([
        this.#become(back, "up", ""),
        ...gone.map((change) => this.#become([change], "decoupled", change.silence)),
      ]);
      this.#complaint = "";
    } catch (error) {
      this.#complain(wordsOf(error));
    }
    if (back.length + gone.length > 0) await this.#options.changed();
  }

  /** An engine has found out that a device does not work. `mapVersion` is that of the engine. */
  async failed({ name, reason, code }: EngineStatus["failedDevices"][number], mapVersion: number): Promise<void> {
    const place = this.#named(name);
    if (place === undefined || place.device.state !== "up" || place.sds.state !== "up") return;
    if ((this.#upSince.get(place.device.id) ?? 0) > mapVersion) return;
    const outOfReach = code === "EHOSTUNREACH";
    const remedy = outOfReach
      ? "it is back when it answers"
      : `mend it, then \`rexray-sim device clear ${place.sds.name} ${place.device.name}\``;
    this.#options.log(`device ${name} ${outOfReach ? "is out of reach" : "failed"}: ${reason}; ${remedy}`);
    await this.#become([place], outOfReach ? "decoupled" : "failed", reason);
    await this.#options.changed();
    // The fault may have been taken away before the engine's word of it came.
    if (isInjected(reason) && this.#options.faults().on(place.sds, place.device).length === 0)
      await this.#bringBack([place]);
  }

  /** An engine has found blocks that hold something else than was written. `attached`: it goes on, and will be asked again. */
  async lied(volume: Id, status: EngineStatus, attached: boolean): Promise<void> {
    this.#tellBadBlocks(volume, status);
    await this.#badBlocks.take(attached ? volume : undefined, status, (name) => this.#named(name)?.device.id);
    for (const place of this.#places()) {
      const { id, state } = place.device;
      if (!this.#badBlocks.isLiar(id) || state === "failed") continue;
      const reason = `cannot believe it: ${this.#badBlocks.count(id)} of its blocks had other content than was written`;
      this.#options.log(`device ${nameOf(place)} failed: ${reason}`);
      await this.#become([place], "failed", reason);
      await this.#options.changed();
    }
  }

  /** Faults have been taken off a device or all of a node: what failed by them is well again. */
  async revive(target: string, removed: readonly FaultSpec[]): Promise<void> {
    const liars = removed.some(({ type }) => DEVICE_FAULTS[type]?.lies === true);
    const targeted = this.#places().filter((place) => target === place.sds.name || target === nameOf(place));
    const well = targeted.filter(({ sds, device }) => {
      if (sds.state !== "up") return false;
      if (device.state === "failed" && liars && this.#badBlocks.isLiar(device.id)) return true;
      return device.state !== "up" && isInjected(device.reason);
    });
    // Which of its bad blocks were the fault's cannot be told.
    if (liars) for (const { device } of targeted) await this.#badBlocks.clear(device.id);
    await this.#bringBack(well);
  }

  /** A person says that these devices are well. Throws unavailable when one is missing or another one. */
  async clear(sds: Sds, devices: readonly Device[]): Promise<void> {
    const places = devices.map((device) => ({ sds, device }));
    for (const place of places) this.checkLabel(place);
    for (const { id } of devices) await this.#badBlocks.clear(id);
    await this.#become(
      places.filter(({ device }) => device.state !== "up"),
      "up",
      "",
    );
  }

  badBlocks(device: Id): number {
    return this.#badBlocks.count(device);
  }

  forget(volume: Id): Promise<void> {
    this.#told.delete(volume);
    return this.#badBlocks.forget(volume);
  }

  #tellBadBlocks(volume: Id, { badBlocks, fixedBlocks, pid }: EngineStatus): void {
    const found = badBlocks.map(({ name, count }) => `${name} gave ${count} bad blocks`).join(", ");
    const text = `${found || "copies differed"}; ${fixedBlocks} were put right from the other copy`;
    if (this.#told.get(volume) !== `${pid}: ${text}`) this.#options.tell(volume, text);
    this.#told.set(volume, `${pid}: ${text}`);
  }

  async #bringBack(places: readonly Place[]): Promise<void> {
    if (places.length === 0) return;
    for (const { sds, device } of places) await this.clear(sds, [device]);
    await this.#options.changed();
  }

  checkLabel({ sds, device }: Place): void {
    const { systemId } = this.#options.mdm.state;
    checkLabel(device.path, { systemId, sdsName: sds.name, deviceId: device.id });
  }

  #isItself(place: Place): boolean {
    try {
      this.checkLabel(place);
      return true;
    } catch (error) {
      this.#complain(wordsOf(error));
      return false;
    }
  }

  /** Throws no_quorum. */
  async #become(places: readonly Place[], state: ServiceState, reason: string): Promise<void> {
    const { mdm } = this.#options;
    const since = new Date().toISOString();
    await Promise.all(
      places.map(({ device }) => mdm.commit({ type: "device-state", id: device.id, state, reason, since })),
    );
    if (state === "up") for (const { device } of places) this.#upSince.set(device.id, mdm.state.pool.mapVersion);
  }

  #places(): Place[] {
    return this.#options.mdm.state.sds.flatMap((sds) => sds.devices.map((device) => ({ sds, device })));
  }

  #named(name: string): Place | undefined {
    return this.#places().find((place) => nameOf(place) === name);
  }

  /** Once, not every half second. */
  #complain(words: string): void {
    if (words !== this.#complaint) this.#options.log(words);
    this.#complaint = words;
  }
}

const wordsOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
