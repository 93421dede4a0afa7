/** What the rest of the daemon may ask of the simulated cluster, besides the storage-driver interface. */

import type { FaultSpec } from "../lib/fault.ts";
import type { FaultRequest } from "./faults/fault-book.ts";
import type { FaultKind } from "./faults/faults.ts";
import type { ClusterStatus, SystemEvent, VolumeLayout } from "./model.ts";
import type { ScanResult } from "./scanner.ts";

/** A new device; its directory defaults to one in the state directory, its size to that of the first device. */
export interface DeviceRequest {
  readonly name: string;
  /** Absolute. */
  readonly path?: string | undefined;
  readonly sizeBytes?: number | undefined;
}

/** A new node with one device; it is a fault unit of its own when no fault set is named. */
export interface SdsRequest extends DeviceRequest {
  readonly faultSet?: string | undefined;
}

/** Limits of a volume's mapping (spec/scaleio.md 1.6); 0: none. */
export interface LimitRequest {
  /** More than 10. */
  readonly iops?: number | undefined;
  /** A multiple of 1 MiB a second. */
  readonly bytesPerSecond?: number | undefined;
}

/** Faults that users put on the running system (faults/). */
export interface FaultsApi {
  list(): readonly FaultSpec[];
  kinds(): readonly FaultKind[];
  /** Throws invalid_argument, not_found, already_exists. */
  add(request: FaultRequest): Promise<FaultSpec>;
  /** Throws not_found. */
  remove(name: string): Promise<void>;
  /** Takes all away. */
  reset(): Promise<void>;
}

export type { FaultKind, FaultRequest, FaultSpec, ScanResult };

export interface ClusterApi {
  readonly faults: FaultsApi;
  status(): Promise<ClusterStatus>;
  /** Events after the one with this id, 0 for all that are kept; waits for the first one, at most so long (ms). */
  events(after: number, waitMs: number): Promise<readonly SystemEvent[]>;
  /** Throws not_found. `chunks`: include the row per chunk. */
  layout(volumeName: string, options: { chunks: boolean }): Promise<VolumeLayout>;
  /** Sets limits of a volume, in force at once; what is left out stays. Throws not_found, invalid_argument, no_quorum. */
  limit(volumeName: string, limits: LimitRequest): Promise<void>;
  /** Looks at all copies of a volume for silent corruption and puts right what it finds. Throws not_found, unavailable. */
  scan(volumeName: string): Promise<ScanResult>;
  /** Takes an SDS down as if its node had lost power. Idempotent. Throws not_found, no_quorum. */
  stopSds(name: string): Promise<void>;
  /** Brings it back; its stale copies are rebuilt in the background. Idempotent. Throws not_found, no_quorum, unavailable. */
  startSds(name: string): Promise<void>;
  /** Takes an SDS out for a while without rebuilding what it holds elsewhere. Throws not_found, unavailable, no_quorum. */
  maintainSds(name: string): Promise<void>;
  /** Adds an SDS; copies are moved to it in the background. Throws already_exists, invalid_argument, in_use, no_quorum. */
  addSds(request: SdsRequest): Promise<void>;
  /** Empties an SDS in the background and then removes it. Throws not_found, no_capacity, no_quorum. */
  removeSds(name: string): Promise<void>;
  /** Takes back a removal, of the SDS or of devices of it, that has not ended. Throws not_found, no_quorum. */
  abortRemoval(name: string): Promise<void>;
  addDevice(sds: string, request: DeviceRequest): Promise<void>;
  removeDevice(sds: string, device: string): Promise<void>;
  /** A person says that a device which has failed is well. Throws not_found, unavailable, no_quorum. */
  clearDevice(sds: string, device: string): Promise<void>;
  /** Another simulated capacity, in bytes. Throws not_found, invalid_argument, no_capacity, no_quorum. */
  resizeDevice(sds: string, device: string, bytes: number): Promise<void>;
}
