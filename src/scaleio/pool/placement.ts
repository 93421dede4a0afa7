import { SimError } from "../../lib/errors.ts";
import type { Group, GroupTable } from "../model.ts";
import { tournament } from "./tournament.ts";

export interface PlacementDevice {
  readonly capacityBytes: number;
  /** Fault set, or the SDS where there is none: two copies never share one (spec/scaleio.md 1.3). */
  readonly faultUnit: string;
}

const GROUPS_PER_DEVICE = 64;
const FEWEST_GROUPS = 256;
/** A share of so many copies can be met to 2 %. */
const FEWEST_COPIES = 32;
/** The map of so many groups is 300 KB for an engine to read. A large pool is founded with more. */
const MOST_GROUPS = 32_768;

/**
 * With how many placement groups a pool of so many devices begins: so many for every two devices that the work of rebuilding
 * one of them is spread over all others.
 */
export function groupCountFor(devices: number): number {
  const pairs = (devices * (devices - 1)) / 2;
  return pairs * Math.ceil(Math.max(FEWEST_GROUPS, devices * GROUPS_PER_DEVICE) / pairs);
}

/**
 * The groups that are to be added, by number, so that the smallest device's share is copies enough to be met; none when there
 * are enough. Every group is split in two that lie where it lay, chunks of all volumes in turns: chunk c of a volume lies in
 * group (first + c) mod groups, which is the same place as before. So nothing moves, and a pool may grow as large as it likes.
 * A device with less than a two-thousandth of the pool gets its share to within one copy.
 */
export function splitGroups(groups: GroupTable, devices: readonly PlacementDevice[]): [number, Group][] {
  if (groups.length * 2 > MOST_GROUPS) return [];
  const capacities = devices.map(({ capacityBytes }) => capacityBytes).filter((bytes) => bytes > 0);
  const smallest = Math.min(...capacities) / capacities.reduce((sum, bytes) => sum + bytes, 0);
  if (groups.length * 2 * smallest >= FEWEST_COPIES) return [];
  return groups.map((group, number) => [groups.length + number, group]);
}

/**
 * Lays down the pool's map: for each group a primary and a secondary device, in different fault units, each device in
 * proportion to its capacity, and consecutive groups mostly on different primaries, so that a sequential stream touches every
 * node.
 */
export function placeGroups(devices: readonly PlacementDevice[], groupCount: number): GroupTable {
  if (new Set(devices.map(({ faultUnit }) => faultUnit)).size < 2) {
    throw new SimError(
      "invalid_argument",
      "two copies need devices in at least two fault units: configure more SDSs or fault sets",
    );
  }
  const alike = new Set(devices.map(({ capacityBytes }) => capacityBytes)).size === 1;
  const alone = new Set(devices.map(({ faultUnit }) => faultUnit)).size === devices.length;
  return alike && alone ? placeEvenly(devices.length, groupCount) : placeByShare(devices, groupCount);
}

/** Every two devices have equally many groups in common, and in turns the one and the other is the primary. */
function placeEvenly(devices: number, groupCount: number): GroupTable {
  const pairs = tournament(devices);
  return Array.from({ length: groupCount }, (_, group) => {
    const [a, b] = pairs[group % pairs.length] as [number, number];
    return Math.floor(group / pairs.length) % 2 === 0 ? [a, b, -1, 0] : [b, a, -1, 0];
  });
}

/**
 * Each device earns credit for each slot in proportion to its capacity and pays one for each copy it is given. Primaries
 * go to the richest device; secondaries to the richest of another unit, and of the equally rich to the one that has been
 * paired with this primary least.
 */
function placeByShare(devices: readonly PlacementDevice[], groupCount: number): GroupTable {
  const capacity = devices.reduce((sum, device) => sum + device.capacityBytes, 0);
  const shares = devices.map((device) => device.capacityBytes / capacity);
  const credits = [shares.map(() => 0), shares.map(() => 0)] as const;
  const pairs = new Map<number, number>();
  const table: Group[] = [];

  for (let group = 0; group < groupCount; group++) {
    for (const slot of credits)
      for (let i = 0; i < slot.length; i++) slot[i] = (slot[i] as number) + (shares[i] as number);
    const primary = richest(
      credits[0],
      () => true,
      () => 0,
    );
    const unit = (devices[primary] as PlacementDevice).faultUnit;
    const paired = (device: number) => pairs.get(primary * devices.length + device) ?? 0;
    const secondary = richest(credits[1], (device) => (devices[device] as PlacementDevice).faultUnit !== unit, paired);
    credits[0][primary] = (credits[0][primary] as number) - 1;
    credits[1][secondary] = (credits[1][secondary] as number) - 1;
    pairs.set(primary * devices.length + secondary, paired(secondary) + 1);
    table.push([primary, secondary, -1, 0]);
  }
  return table;
}

/** Credits within this distance count as equal, so that pairs can be mixed. */
const NEAR = 1;

function richest(
  credits: readonly number[],
  eligible: (device: number) => boolean,
  paired: (device: number) => number,
): number {
  let most = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < credits.length; i++) if (eligible(i)) most = Math.max(most, credits[i] as number);
  let best = -1;
  for (let i = 0; i < credits.length; i++) {
    if (!eligible(i) || (credits[i] as number) < most - NEAR) continue;
    const better =
      best < 0 ||
      paired(i) < paired(best) ||
      (paired(i) === paired(best) && (credits[i] as number) > (credits[best] as number));
    if (better) best = i;
  }
  return best;
}
