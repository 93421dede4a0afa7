import { SimError } from "../../lib/errors.ts";
import type { SystemState } from "../model.ts";

/** Capacity arithmetic of spec/scaleio.md 1.4. Raw figures count both copies, net figures one. All in bytes. */
const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
/** Largest volume (spec/scaleio.md 1.2). */
const LARGEST_VOLUME_BYTES = 1024 ** 5;
/** Volumes in one protection domain. */
const MOST_VOLUMES = 32_768;
/** Thin volumes may be promised this many times what there is. */
const OVERSUBSCRIPTION = 5;

export const spareBytes = (rawBytes: number, sparePercent: number): number =>
  Math.floor((rawBytes * sparePercent) / 100 / MIB) * MIB;

export const roundUpToGranularity = (bytes: number, granularity: number): number =>
  Math.ceil(bytes / granularity) * granularity;

/** Net bytes that new thin volumes can still be promised: five times the net capacity less what is promised already. */
export function availableBytes(state: SystemState, granularity: number): number {
  const promised = [...state.volumes.values()].reduce((sum, volume) => sum + volume.sizeBytes, 0);
  const net = (usableBytes(state) / 2) * OVERSUBSCRIPTION - promised;
  return Math.max(0, Math.floor(net / granularity) * granularity);
}

/** Of the capacity that is not spare: from here on nothing new is promised. */
const CRITICAL = 0.9;

const rawBytes = (state: SystemState): number =>
  state.sds.flatMap((sds) => sds.devices).reduce((sum, device) => sum + device.capacityBytes, 0);

function usableBytes(state: SystemState): number {
  const raw = rawBytes(state);
  return raw - spareBytes(raw, state.pool.sparePercent);
}

/** Whether so much in use is above the critical threshold: nothing new is promised then, and nothing rebalanced. */
export const isCritical = (state: SystemState, usedBytes: number): boolean =>
  usedBytes >= usableBytes(state) * CRITICAL;

/** What has to be known to promise capacity. */
export interface CapacityRequest {
  readonly sizeBytes: number;
  /** All of it is set aside at once. */
  readonly thick: boolean;
  /** What the devices hold, both copies. */
  readonly usedBytes: number;
}

/** Throws no_capacity or invalid_argument when so much (rounded) cannot be promised. */
export function checkCapacity(
  state: SystemState,
  { sizeBytes, thick, usedBytes }: CapacityRequest,
  granularity: number,
): void {
  if (sizeBytes > LARGEST_VOLUME_BYTES) {
    throw new SimError("invalid_argument", `a volume of ${gb(sizeBytes)} is too large: the limit is 1 PB`);
  }
  if (state.volumes.size >= MOST_VOLUMES) {
    throw new SimError(
      "no_capacity",
      `there are ${MOST_VOLUMES} volumes already, which is the limit of a protection domain: remove some`,
    );
  }
  const usable = usableBytes(state);
  if (isCritical(state, usedBytes)) {
    throw new SimError(
      "no_capacity",
      `pool ${state.pool.name} is more than ${CRITICAL * 100} % full (${gb(usedBytes)} of ${gb(usable)}), so it promises nothing new: add devices or remove data`,
    );
  }
  const setAside = [...state.volumes.values()].reduce(
    (sum, volume) => sum + (volume.thick === true ? volume.sizeBytes : 0),
    0,
  );
  const net = Math.max(0, (usable - usedBytes) / 2 - setAside);
  if (thick && sizeBytes > net) {
    throw new SimError(
      "no_capacity",
      `pool ${state.pool.name} cannot set ${gb(sizeBytes)} aside for a thick volume: ${gb(net)} are free; ask for less, or for a thin one`,
    );
  }
  const available = availableBytes(state, granularity);
  if (sizeBytes > available) {
    throw new SimError(
      "no_capacity",
      `pool ${state.pool.name} cannot promise ${gb(sizeBytes)}: ${gb(available)} are left of its thin limit; ask for less, remove volumes, or configure larger devices`,
    );
  }
}

const gb = (bytes: number) => `${Number((bytes / GIB).toFixed(2))} GB`;
