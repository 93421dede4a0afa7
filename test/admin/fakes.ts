import { setTimeout as pause } from "node:timers/promises";
import type { RemainingVolume } from "../../src/admin/report.ts";
import { SimError } from "../../src/lib/errors.ts";
import { createLog } from "../../src/lib/log.ts";
import type { ClusterApi } from "../../src/scaleio/cluster-api.ts";
import type { ClusterStatus, ServiceState, SystemEvent, VolumeLayout } from "../../src/scaleio/model.ts";
import type { VolumeService, VolumeView } from "../../src/volumes/service.ts";
import { NOTHING } from "../helpers/pool-status.ts";

const GIB = 1024 ** 3;

export const silent = createLog({ level: "silent" });

/** Three nodes and one volume, "pg"; nodes can be stopped and started, and each order is remembered. */
export class FakeCluster implements ClusterApi {
  readonly faults: ClusterApi["faults"] = {
    list: () => [],
    kinds: () => [],
    add: async ({ type, target }) => ({ name: "f", type, target, probability: 1, attributes: {} }),
    remove: async (name) => void this.orders.push(`fault rm ${name}`),
    reset: async () => void this.orders.push("fault reset"),
  };

  readonly orders: string[] = [];
  readonly states = new Map<string, ServiceState>([
    ["sds1", "up"],
    ["sds2", "up"],
    ["sds3", "up"],
  ]);
  /** Status calls that still find copies to rebuild after all nodes are up again. */
  rebuilds = 0;
  /** Status calls that still find copies to move; what is emptied goes after them. */
  moves = 0;
  readonly emptied = new Set<string>();
  /** Status calls until a scan is over. */
  scanning = 0;

  happened: readonly SystemEvent[] = [];

  async events(): Promise<readonly SystemEvent[]> {
    return this.happened;
  }

  async status(): Promise<ClusterStatus> {
    const moving = this.moves > 0 && this.moves-- > 0;
    const scanning = this.scanning > 0 && this.scanning-- > 0;
    const down = [...this.states].filter(([, state]) => state !== "up").map(([name]) => `${name} is stopped`);
    const rebuilding = down.length === 0 && this.rebuilds-- > 0;
    const health = down.length > 0 || rebuilding ? "degraded" : "ok";
    return {
      isCurrent: true,
      health,
      alerts: [],
      reasons: rebuilding ? ["copies are being rebuilt"] : down,
      mdm: ["1", "2", "3"].map((name) => ({ name, state: "normal", reason: "" })),
      sds: [...this.states].map(([name, state]) => ({
        name,
        state,
        reason: "",
        since: "",
        faultSet: name,
        capacityBytes: 64 * GIB,
        usedBytes: 1.5 * GIB,
        badBlocks: 0,
        deviceNames: ["disk1", "disk2"].filter((device) => moving || !this.emptied.has(`${name}/${device}`)),
        devices: ["disk1", "disk2"].map((device) => `/state/sds/${name}/${device}`),
      })),
      pools: [
        {
          name: "pool1",
          health,
          protectionDomain: "domain1",
          capacityBytes: 192 * GIB,
          usedBytes: 4.5 * GIB,
          provisionedBytes: 16 * GIB,
          availableBytes: 48 * GIB,
          thinAvailableBytes: 480 * GIB,
          ...NOTHING,
          rebuildBytes: rebuilding ? (this.rebuilds + 1) * GIB : 0,
          rebuildSecondsLeft: rebuilding ? 20 : null,
          rebalanceBytes: moving ? GIB : 0,
          rebalanceSecondsLeft: moving ? 40 : null,
          spareBytes: 64 * GIB,
        },
      ],
      scans: scanning ? [{ volume: "pg", chunks: 200, done: 75, secondsLeft: 150 }] : [],
      volumes: [this.#volume()],
    };
  }

  limit = async (name: string, { iops }: { iops?: number | undefined }) =>
    void this.orders.push(`limit ${name} ${iops}`);
  async scan() {
    while (this.scanning > 0) await pause(5);
    return { chunks: 200, fixed: 0 };
  }
  maintainSds = async (name: string) => void this.orders.push(`maintenance ${name}`);
  addSds = async ({ name }: { name: string }) => void this.orders.push(`add ${name}`);
  removeSds = async (name: string) => void this.orders.push(`remove ${name}`);
  abortRemoval = async (name: string) => void this.orders.push(`abort removal ${name}`);
  addDevice = async (sds: string, { name }: { name: string }) => void this.orders.push(`add ${sds}/${name}`);
  resizeDevice = async (sds: string, device: string, bytes: number) =>
    void this.orders.push(`resize ${sds}/${device} ${bytes}`);
  clearDevice = async (sds: string, device: string) => void this.orders.push(`clear ${sds}/${device}`);
  removeDevice = async (sds: string, device: string) => {
    this.orders.push(`remove ${sds}/${device}`);
    this.emptied.add(`${sds}/${device}`);
  };

  async layout(volumeName: string, options: { chunks: boolean }): Promise<VolumeLayout> {
    if (!["pg", "web", "pg-1"].includes(volumeName))
      throw new SimError("not_found", `no volume is called "${volumeName}"`);
    return {
      ...this.#volume(),
      name: volumeName,
      snapshotOf: volumeName === "pg-1" ? "pg" : null,
      createdAt: "2024-05-01T10:00:00Z",
      fsType: "ext4",
      iops: 0,
      bytesPerSecond: 0,
      pool: "pool1",
      mapVersion: 1,
      chunkBytes: 1024 * 1024,
      usedBytes: 3 * GIB,
      devices: ["sds1", "sds2"].map((sds, index) => ({
        sds,
        device: "disk1",
        file: `/state/sds/${sds}/disk1/0123456700000001.vol`,
        primaryChunks: index === 0 ? 8193 : 8191,
        secondaryChunks: index === 0 ? 8191 : 8193,
        usedBytes: 1.5 * GIB,
        staleChunks: 0,
      })),
      ...(options.chunks ? { chunks: [{ chunk: 0, primary: "sds1", secondary: "sds2", stale: ["sds2"] }] } : {}),
    };
  }

  async stopSds(name: string): Promise<void> {
    this.#order("stop", name, "stopped");
  }

  async startSds(name: string): Promise<void> {
    this.#order("start", name, "up");
  }

  #order(action: string, name: string, state: ServiceState): void {
    if (!this.states.has(name)) throw new SimError("not_found", `no SDS is called "${name}"`);
    this.orders.push(`${action} ${name}`);
    this.states.set(name, state);
  }

  #volume() {
    return {
      name: "pg",
      id: "0123456700000001",
      sizeBytes: 16 * GIB,
      health: "ok",
      mappedTo: "host1",
      snapshotOf: null,
      device: "/dev/loop7",
      disconnectedBy: null,
      degradedChunks: 0,
      failedChunks: 0,
      supervisorPid: 11,
      enginePid: 12,
    } as const;
  }
}

/** The volume "pg", mounted, and others that are made; a stop leaves `held`. */
export class FakeVolumes implements VolumeService {
  mountpoint = "/state/volumes/pg/data";
  held: RemainingVolume[] = [];
  readonly orders: string[] = [];
  readonly names = new Set(["pg"]);

  async create(name: string): Promise<void> {
    this.names.add(name);
  }
  async snapshot(requests: readonly { volume: string; name: string }[]): Promise<void> {
    this.orders.push(...requests.map(({ volume, name }) => `snapshot ${volume} ${name}`));
  }
  async overwrite(name: string, from: string): Promise<void> {
    this.orders.push(`overwrite ${name} ${from}`);
  }
  async resize(name: string, sizeBytes: number): Promise<void> {
    this.orders.push(`resize ${name} ${sizeBytes}`);
  }
  async remove(name: string): Promise<void> {
    this.names.delete(name);
  }
  async mount(): Promise<string> {
    return this.mountpoint;
  }
  async unmount(): Promise<void> {}
  async path(): Promise<string> {
    return this.mountpoint;
  }
  async get(name: string): Promise<VolumeView> {
    const volume = (await this.list()).find((one) => one.name === name);
    if (volume === undefined) throw new SimError("not_found", "resource not found");
    return volume;
  }
  async list(): Promise<VolumeView[]> {
    const { mountpoint } = this;
    return [...this.names].map((name) => ({
      name,
      sizeBytes: 16 * GIB,
      createdAt: "2024-05-01T10:00:00Z",
      mountpoint,
      status: {},
    }));
  }
  async reconcile(): Promise<void> {
    this.orders.push("reconcile");
  }
  async shutdown({ force }: { force: boolean }): Promise<RemainingVolume[]> {
    this.orders.push(force ? "shutdown force" : "shutdown");
    if (force || this.held.length === 0) this.mountpoint = "";
    return force ? [] : this.held;
  }
}
