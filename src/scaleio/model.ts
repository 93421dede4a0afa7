/**
 * The simulated system in the product's own terms (spec/scaleio.md 1.2): protection domain, storage pool, SDS,
 * device, volume. Plain data: what the MDM keeps, what the SDC is given, what a status screen shows.
 */

/** A volume is cut into units of this many bytes; each has two copies (spec/scaleio.md 1.3). */
export const CHUNK_BYTES = 1024 * 1024;

/** 16 lower-case hex digits; never reused. */
export type Id = string;

/**
 * Up: serves I/O. Stopped: taken down on purpose, and so until it is started. Decoupled: nothing is heard of it; it comes back by
 * itself. Failed: it could not read or write, or has lied; `reason` says what, and it is out until a person says that it is well.
 */
export type ServiceState = "up" | "stopped" | "decoupled" | "failed";

export interface Device {
  readonly id: Id;
  readonly name: string;
  /** Directory that holds the label and the volume files. */
  readonly path: string;
  /** Simulated capacity in bytes. */
  readonly capacityBytes: number;
  readonly state: ServiceState;
  /** Why it is not up; "" when up. */
  readonly reason: string;
  /** RFC 3339: when it came into this state; "" and absent: with the system. */
  readonly since?: string;
  /** It is being emptied, to be removed then. */
  readonly leaving?: boolean;
}

export interface Sds {
  readonly id: Id;
  readonly name: string;
  /** Name of the fault set; the SDS's own name where none is configured. Two copies never share one. */
  readonly faultSet: string;
  readonly state: ServiceState;
  readonly devices: readonly Device[];
  /** RFC 3339: when it went down or came back last. */
  readonly since?: string;
  /** Down, but to be back soon: nothing is rebuilt elsewhere meanwhile. */
  readonly maintenance?: boolean;
  /** It is removed when its devices are. */
  readonly leaving?: boolean;
}

/** Whether a device is in maintenance: it waits for its node, and nobody makes its copies anew. */
export const isResting = ({ maintenance }: Pick<Sds, "maintenance">, { state }: Pick<Device, "state">): boolean =>
  maintenance === true && state !== "failed";

/**
 * The slots of a placement group: the devices of its copies as indexes into the pool's device list, and the mask of the
 * slots that are being given up. Two slots are taken, -1 is an empty one; while copies move, the third one is taken too.
 */
export type Group = readonly [number, number, number, number];

/** Group number -> slots. Versioned; never computed by a hash. A pool that grows gets more groups (splitGroups). */
export type GroupTable = readonly Group[];

export interface Pool {
  readonly id: Id;
  readonly name: string;
  readonly protectionDomain: string;
  /** Percentage of the raw capacity kept free for rebuilds. */
  readonly sparePercent: number;
  /** Every block of every copy has a checksum. Absent: no. */
  readonly checksum?: boolean;
  readonly mapVersion: number;
  /** Device ids in index order: the order is part of the map. "" is a place that a removed device left. */
  readonly deviceIds: readonly Id[];
  readonly groups: GroupTable;
}

/**
 * What a volume's data lies in. A volume writes to a layer of its own; a snapshot freezes that layer, and volume and snapshot
 * get a new, empty one each, through which the frozen one shows wherever they have not written.
 */
export interface LayerRef {
  /** Files on the devices and records bear it. The first layer of a volume has the volume's id. */
  readonly id: Id;
  readonly sizeBytes: number;
}

export interface VolumeRecord {
  readonly id: Id;
  readonly name: string;
  readonly poolId: Id;
  readonly sizeBytes: number;
  /** RFC 3339. */
  readonly createdAt: string;
  readonly fsType: string;
  /** Limits of its mapping; 0 and absent: none. */
  readonly iops: number;
  readonly bytesPerSecond?: number;
  /** Its capacity is set aside, not only promised. Absent: thin. */
  readonly thick?: boolean;
  /** First group: chunk c of the volume lies in group (firstGroup + c) mod groups. Spreads small volumes. */
  readonly firstGroup: number;
  /** SDC (host) name the volume is mapped to, or null. One writer at a time. */
  readonly mappedTo: string | null;
  /** The layer that takes its writes; its own id when it has never been in a snapshot. */
  readonly layerId?: Id;
  /** Frozen layers beneath, the nearest first. */
  readonly lower?: readonly LayerRef[];
  /** The volume it is a snapshot of; null when that one has been removed. Absent: it is no snapshot. */
  readonly ancestorId?: Id | null;
  /** Id of the volume with which the family (vTree) began; its own when absent. */
  readonly vtreeId?: Id;
  /** Snapshots that were taken at one instant share it. */
  readonly consistencyGroupId?: Id;
}

/** All that the MDM keeps. */
export interface SystemState {
  readonly systemId: Id;
  /** Source of ids; rises with every creation. */
  readonly lastId: number;
  readonly pool: Pool;
  readonly sds: readonly Sds[];
  readonly volumes: ReadonlyMap<Id, VolumeRecord>;
}

/** Changes, as the MDM log records them. Applying one is pure: state + change -> state. */
export type Change =
  | {
      readonly type: "system-created";
      readonly systemId: Id;
      readonly lastId: number;
      readonly pool: Pool;
      readonly sds: readonly Sds[];
    }
  | { readonly type: "volume-created"; readonly volume: VolumeRecord }
  /** Snapshots of one instant: all of them or none. */
  | { readonly type: "snapshots-created"; readonly volumes: readonly VolumeRecord[]; readonly lastId: number }
  | { readonly type: "volume-removed"; readonly id: Id }
  | {
      readonly type: "volumes-changed";
      readonly volumes: readonly { readonly id: Id; readonly to: VolumeChange }[];
      readonly lastId: number;
    }
  | { readonly type: "volume-mapped"; readonly id: Id; readonly to: string | null }
  | { readonly type: "pool-checksum"; readonly on: boolean }
  /** Groups whose slots have changed, by number; a number that there was not before is a new group. */
  | { readonly type: "groups-changed"; readonly groups: readonly (readonly [number, Group])[] }
  | { readonly type: "sds-added"; readonly sds: Sds; readonly lastId: number }
  | { readonly type: "sds-removed"; readonly name: string }
  | { readonly type: "sds-maintenance"; readonly name: string; readonly on: boolean }
  | { readonly type: "device-added"; readonly sds: string; readonly device: Device; readonly lastId: number }
  | { readonly type: "sds-leaving"; readonly name: string; readonly leaving: boolean }
  | { readonly type: "device-leaving"; readonly id: Id; readonly leaving: boolean }
  | { readonly type: "device-resized"; readonly id: Id; readonly capacityBytes: number }
  | { readonly type: "device-removed"; readonly id: Id }
  | { readonly type: "sds-state"; readonly name: string; readonly state: ServiceState; readonly since?: string }
  | {
      readonly type: "device-state";
      readonly id: Id;
      readonly state: ServiceState;
      readonly reason: string;
      readonly since?: string;
    };

/** What may change of a volume. */
export type VolumeChange = Partial<Pick<VolumeRecord, "sizeBytes" | "layerId" | "lower" | "iops" | "bytesPerSecond">>;

/** ok: every chunk of every volume has two good copies. degraded: some have one. failed: some have none. */
export type Health = "ok" | "degraded" | "failed";

export type EventSeverity = "info" | "warning" | "error" | "critical";

/** A line of the event log (spec/scaleio.md 1.12). */
export interface SystemEvent {
  /** Rises with every event. */
  readonly id: number;
  /** RFC 3339. */
  readonly at: string;
  readonly name: string;
  readonly severity: EventSeverity;
  readonly text: string;
}

/** Something that is wrong at the moment, under ScaleIO's name for it. */
export interface Alert {
  readonly type: string;
  readonly severity: "low" | "medium" | "high";
  /** Name of the node or pool that it is about; "": the system. With the type it says which alert this is. */
  readonly affectedObject: string;
  readonly text: string;
}

export interface MdmMemberStatus {
  readonly name: string;
  readonly state: "normal" | "failed";
  readonly reason: string;
}

/**
 * Where the raw capacity of a pool is, in ScaleIO's states (spec/scaleio.md 1.4, 1.7); bytes, both copies counted. They add up:
 * capacity = spare + in use + degraded-failed + failed + unreachable unused + unused, and
 * in use = protected + in maintenance + semi-protected + degraded-healthy.
 */
export interface CapacityStates {
  readonly spareBytes: number;
  readonly inUseBytes: number;
  /** In use by thick volumes, which take all of their size at once, and by thin ones. */
  readonly thickBytes: number;
  readonly thinBytes: number;
  /** Two good copies. */
  readonly protectedBytes: number;
  /** The other copy is on an SDS in maintenance; both are counted. */
  readonly inMaintenanceBytes: number;
  /** One good copy, and a second one that is being made: both are counted. */
  readonly semiProtectedBytes: number;
  /** The good side and the lost side of what has one good copy and no place for a second one yet. */
  readonly degradedHealthyBytes: number;
  readonly degradedFailedBytes: number;
  /** No good copy within reach. */
  readonly failedBytes: number;
  /** Free space of devices that are out of reach. */
  readonly unreachableUnusedBytes: number;
  readonly unusedBytes: number;
}

/**
 * What the pool does in the background. rebuild: second copies for what has only one good one. rebalance: copies on their way to
 * other devices, for balance or because a device is to be removed. absorb: chunks taken over from layers that are to go.
 */
export const WORK_KINDS = ["rebuild", "rebalance", "absorb"] as const;
export type WorkKind = (typeof WORK_KINDS)[number];

/** `rebuildBytes` and the like: bytes that are still to be written; 0 when nothing is to be done. */
type WorkBytes = { readonly [kind in WorkKind as `${kind}Bytes`]: number };
/** `rebuildSecondsLeft` and the like: at the pace of the last seconds; null when nothing is to be done or no pace is known yet. */
type WorkTimes = { readonly [kind in WorkKind as `${kind}SecondsLeft`]: number | null };
export type Work = WorkBytes & WorkTimes;

/** A scan that somebody has asked for. */
export interface ScanProgress {
  readonly volume: string;
  readonly chunks: number;
  readonly done: number;
  readonly secondsLeft: number | null;
}

/** What `rexray-sim status` shows of the cluster; sizes in bytes. */
export interface ClusterStatus {
  /** False: the MDM has had no quorum since the start, and what is shown may be old. */
  readonly isCurrent: boolean;
  readonly health: Health;
  /** One sentence each for a person: why the health is not ok. */
  readonly reasons: readonly string[];
  readonly alerts: readonly Alert[];
  readonly mdm: readonly MdmMemberStatus[];
  readonly sds: readonly {
    readonly name: string;
    readonly state: ServiceState;
    readonly reason: string;
    /** RFC 3339: when it went down or came back last; "" when it never did. */
    readonly since: string;
    readonly faultSet: string;
    readonly capacityBytes: number;
    readonly usedBytes: number;
    /** Blocks of its devices that had other content than was written, and were put right, since they were last called well. */
    readonly badBlocks: number;
    /** Names and directories of its devices, both in the same order. */
    readonly deviceNames: readonly string[];
    readonly devices: readonly string[];
  }[];
  readonly pools: readonly (CapacityStates &
    Work & {
      readonly name: string;
      readonly health: Health;
      readonly protectionDomain: string;
      readonly capacityBytes: number;
      /** Bytes that the devices really hold, both copies. */
      readonly usedBytes: number;
      /** Logical bytes that all volumes were promised. */
      readonly provisionedBytes: number;
      /** Net bytes that can be set aside for new thick volumes, and that new thin ones can be promised (pool/capacity.ts). */
      readonly availableBytes: number;
      readonly thinAvailableBytes: number;
      /**
       * How much more than its share the device that is farthest from it has, as a part of the share; below 0: how much less. 0 when
       * balance is as good as it can be, and while copies are missing or devices are emptied, which comes first.
       */
      readonly imbalance: number;
      /** That device, for instance "sds-1/dev-1"; "" when there is none. */
      readonly unbalancedDevice: string;
    })[];
  readonly scans: readonly ScanProgress[];
  readonly volumes: readonly ClusterVolumeStatus[];
}

export interface ClusterVolumeStatus {
  readonly name: string;
  readonly id: Id;
  readonly sizeBytes: number;
  readonly health: Health;
  readonly mappedTo: string | null;
  /** Name of the volume it is a snapshot of, "" when that one has been removed; null: it is no snapshot. */
  readonly snapshotOf: string | null;
  /** Block device while attached here. */
  readonly device: string | null;
  /** The fault by which its host's SDC reaches no SDS, so that its I/O waits; null: there is none. */
  readonly disconnectedBy: string | null;
  /** Chunks with a stale or unreachable copy. */
  readonly degradedChunks: number;
  /** Chunks with no good copy. */
  readonly failedChunks: number;
  /** Processes that serve it while attached. */
  readonly supervisorPid: number | null;
  readonly enginePid: number | null;
}

/** `rexray-sim volume inspect`: where the chunks lie. */
export interface VolumeLayout extends ClusterVolumeStatus {
  readonly createdAt: string;
  readonly fsType: string;
  /** Limits; 0: none. */
  readonly iops: number;
  readonly bytesPerSecond: number;
  readonly pool: string;
  readonly mapVersion: number;
  readonly chunkBytes: number;
  /** Bytes really allocated on the devices, both copies. */
  readonly usedBytes: number;
  /** Per device: how many chunks have their primary / secondary copy there, bytes allocated, file. */
  readonly devices: readonly {
    readonly sds: string;
    readonly device: string;
    readonly file: string;
    readonly primaryChunks: number;
    readonly secondaryChunks: number;
    readonly usedBytes: number;
    readonly staleChunks: number;
  }[];
  /** Chunk number -> [primary SDS, secondary SDS] names; `stale` lists the SDS whose copy is stale. Only on request: one row a chunk. */
  readonly chunks?: readonly {
    readonly chunk: number;
    readonly primary: string;
    readonly secondary: string;
    /** While the copies move: the third place. */
    readonly third?: string;
    readonly stale: readonly string[];
  }[];
}
