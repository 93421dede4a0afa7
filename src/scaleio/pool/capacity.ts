import { SimError } from "../../lib/errors.ts";
import type { SystemState } from "../model.ts";
import { mirrorableBytes } from "./shares.ts";

/**
 * Capacity arithmetic of spec/scaleio.md 1.4. Raw figures (gross) count both copies, net figures one. All in bytes.
 *
 * What is in use is what thin volumes have written, which somebody has to look for on the devices (`thinBytes`, raw), and all of
 * the size of thick ones, which is known at once.
 */
const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
/** Largest volume (spec/scaleio.md 1.2). */
const LARGEST_VOLUME_BYTES = 1024 ** 5;
/** Volumes in one protection domain. */
const MOST_VOLUMES = 32_768;
/** Thin volumes may be promised this many times what is not in use. */
const OVERSUBSCRIPTION = 5;
/** Of the capacity that is not spare: from here on there are alerts, and from the second one on nothing thin is promised. */
export const HIGH = 0.8;
export const CRITICAL = 0.9;

export const spareBytes = (rawBytes: number, sparePercent: number): number =>
  Math.floor((rawBytes * sparePercent) / 100 / MIB) * MIB;

export const roundUpToGranularity = (bytes: number, granularity: number): number =>
  Math.ceil(bytes / granularity) * granularity;

/** Raw bytes in use. */
export const inUseBytes = (state: SystemState, thinBytes: number): number =>
  thinBytes + 2 * promised(state, ({ thick }) => thick === true);

/** Whether so much is in use that nothing thin is promised any more, and nothing rebalanced. */
export const isCritical = (state: SystemState, thinBytes: number): boolean =>
  inUseBytes(state, thinBytes) >= usableBytes(state) * CRITICAL;

/** ScaleIO's capacityAvailableForVolumeAllocation: net bytes that can be set aside for thick volumes. */
export function availableBytes(state: SystemState, thinBytes: number, granularity: number): number {
  return netOf(usableBytes(state) - inUseBytes(state, thinBytes), granularity);
}

/** Net bytes that new thin volumes and snapshots can be promised: five times what is not in use, less what they are promised. */
export function thinAvailableBytes(state: SystemState, thinBytes: number, granularity: number): number {
  const limit = OVERSUBSCRIPTION * (mirrorableBytes(staying(state)) - inUseBytes(state, thinBytes));
  return netOf(limit - 2 * promised(state, ({ thick }) => thick !== true), granularity);
}

/** What is to be promised. */
export interface CapacityRequest {
  /** Net bytes, rounded, of thin volumes and snapshots. */
  readonly thin?: number;
  /** Net bytes that are set aside at once. */
  readonly thick?: number;
  /** One volume is to have so many bytes. */
  readonly volumeBytes?: number;
  readonly newVolumes?: number;
}

/**
 * Throws no_capacity or invalid_argument when so much cannot be promised.
 *
 * @param others what is being promised at this moment
 */
export function checkCapacity(
  state: SystemState,
  thinBytes: number,
  granularity: number,
  { thin = 0, thick = 0, volumeBytes = 0, newVolumes = 0 }: CapacityRequest,
  others: Iterable<CapacityRequest> = [],
): void {
  const besides = { thin: 0, thick: 0, newVolumes: 0 };
  for (const other of others) {
    besides.thin += other.thin ?? 0;
    besides.thick += other.thick ?? 0;
    besides.newVolumes += other.newVolumes ?? 0;
  }
  // What is being set aside is in use, for thin volumes too.
  const taken = thinBytes + 2 * besides.thick;
  if (volumeBytes > LARGEST_VOLUME_BYTES)
    throw new SimError("invalid_argument", `a volume of ${gb(volumeBytes)} is too large: the limit is 1 PB`);
  if (state.volumes.size + besides.newVolumes + newVolumes > MOST_VOLUMES) {
    throw new SimError(
      "no_capacity",
      `there are ${state.volumes.size} volumes, and ${MOST_VOLUMES} is the limit of a protection domain: remove some`,
    );
  }
  const { name } = state.pool;
  if (thin > 0 && isCritical(state, taken)) {
    const full = `${gb(inUseBytes(state, taken))} of ${gb(usableBytes(state))}`;
    throw new SimError(
      "no_capacity",
      `pool ${name} is more than ${CRITICAL * 100} % full (${full}), so it takes no new thin volume and no snapshot, and none grows: add devices or remove data`,
    );
  }
  const thinLeft = Math.max(0, thinAvailableBytes(state, taken, granularity) - besides.thin);
  if (thin > thinLeft) {
    throw new SimError(
      "no_capacity",
      `pool ${name} cannot promise ${gb(thin)}: ${gb(thinLeft)} are left of its thin limit; ask for less, remove volumes, or configure larger devices`,
    );
  }
  const thickLeft = availableBytes(state, taken, granularity);
  if (thick > thickLeft) {
    throw new SimError(
      "no_capacity",
      `pool ${name} cannot set ${gb(thick)} aside for a thick volume: ${gb(thickLeft)} are free; ask for less, or for a thin one`,
    );
  }
}

/** The devices that are to stay, also those that are out of reach now: the spare is for these. */
const staying = ({ sds }: SystemState) =>
  sds.flatMap(({ faultSet, devices }) =>
    devices
      .filter(({ leaving }) => leaving !== true)
      .map(({ capacityBytes }) => ({ faultUnit: faultSet, capacityBytes })),
  );

/** What can be held twice, and need not be kept free. */
function usableBytes(state: SystemState): number {
  const devices = staying(state);
  const raw = devices.reduce((sum, { capacityBytes }) => sum + capacityBytes, 0);
  return mirrorableBytes(devices) - spareBytes(raw, state.pool.sparePercent);
}

const promised = ({ volumes }: SystemState, which: (volume: { thick?: boolean }) => boolean): number => {
  let sum = 0;
  for (const volume of volumes.values()) if (which(volume)) sum += volume.sizeBytes;
  return sum;
};

const netOf = (raw: number, granularity: number) => Math.max(0, Math.floor(raw / 2 / granularity) * granularity);

const gb = (bytes: number) => `${Number((bytes / GIB).toFixed(2))} GB`;
