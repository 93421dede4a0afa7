import type { Mdm } from "./mdm/mdm.ts";
import type { Device, Sds } from "./model.ts";
import { checkLabel } from "./sds/device-label.ts";

export interface DevicesOptions {
  readonly mdm: Pick<Mdm, "state" | "isCurrent" | "commit">;
  /** Engines are to be told. */
  readonly tell: () => Promise<void>;
  /** Engines are to be told, and there may be something to repair. */
  readonly changed: () => Promise<void>;
  readonly log: (message: string) => void;
}

/** Which devices there are, fail, and are well again. */
export class Devices {
  readonly #options: DevicesOptions;

  constructor(options: DevicesOptions) {
    this.#options = options;
  }

  live(): { sds: Sds; device: Device }[] {
    return this.#options.mdm.state.sds
      .filter((sds) => sds.state === "up")
      .flatMap((sds) => sds.devices.filter((device) => device.state === "up").map((device) => ({ sds, device })));
  }

  /** An engine has found out that a device does not work. `name` is SDS/device. */
  async failed(name: string, reason: string): Promise<void> {
    const found = this.#options.mdm.state.sds
      .flatMap((sds) => sds.devices.map((device) => ({ sds, device })))
      .find(({ sds, device }) => `${sds.name}/${device.name}` === name);
    if (found === undefined || found.device.state !== "up" || found.sds.state !== "up") return;
    this.#options.log(`device ${name} failed: ${reason}; mend it, then \`rexray-sim sds start ${found.sds.name}\``);
    await this.#options.mdm.commit({ type: "device-state", id: found.device.id, state: "failed", reason });
    await this.#options.tell();
  }

  /** Throws unless the device is there and is this one. */
  checkLabel(sds: Sds, device: Device): void {
    checkLabel(device.path, { systemId: this.#options.mdm.state.systemId, sdsName: sds.name, deviceId: device.id });
  }

  /** At start: a device without its label is out; one that is well again comes back. */
  async checkAll(): Promise<void> {
    for (const sds of this.#options.mdm.state.sds) {
      for (const device of sds.devices) {
        let reason = "";
        try {
          this.checkLabel(sds, device);
        } catch (error) {
          reason = error instanceof Error ? error.message : String(error);
        }
        const state = reason === "" ? "up" : "failed";
        if (device.state === state) continue;
        if (reason !== "") this.#options.log(`device ${sds.name}/${device.name}: ${reason}`);
        await this.#options.mdm
          .commit({ type: "device-state", id: device.id, state, reason })
          .catch((error) => this.#options.log(`device ${sds.name}/${device.name}: ${error}`));
      }
    }
  }

  /** A node or device has lost a fault: a device that failed by it is well again. */
  async revive(target: string): Promise<void> {
    const [sdsName, deviceName] = target.split("/");
    const sds = this.#options.mdm.state.sds.find(({ name }) => name === sdsName);
    const failed = sds?.devices.filter(({ name, state }) => state === "failed" && (deviceName ?? name) === name) ?? [];
    if (!this.#options.mdm.isCurrent || sds === undefined || sds.state !== "up" || failed.length === 0) return;
    for (const device of failed) this.checkLabel(sds, device);
    for (const { id } of failed) await this.#options.mdm.commit({ type: "device-state", id, state: "up", reason: "" });
    await this.#options.changed();
  }
}
