/** A device that is to hold copies. */
export interface ShareDevice {
  readonly capacityBytes: number;
  readonly faultUnit: string;
}

/**
 * What a pool can hold twice, in raw bytes: a unit that is larger than all others together has nowhere to put the other copies of
 * what is beyond them.
 */
export function mirrorableBytes(devices: Iterable<ShareDevice>): number {
  const units = new Map<string, number>();
  for (const { faultUnit, capacityBytes } of devices) units.set(faultUnit, (units.get(faultUnit) ?? 0) + capacityBytes);
  const all = sum(units.values());
  return Math.min(all, 2 * (all - Math.max(0, ...units.values())));
}

/**
 * How many of so many copies each device is to hold: whole numbers in proportion to capacity, rounded by Webster's method, so that
 * one device more takes from the others and gives to none, and one less the other way round. No fault unit gets more than
 * `most`, which is one copy of everything.
 */
export function sharesOf(devices: readonly ShareDevice[], copies: number, most: number): number[] {
  const all = [...devices.keys()];
  const shares = devices.map(() => 0);
  apportion(devices, all, copies, shares);
  for (const unit of new Set(devices.map(({ faultUnit }) => faultUnit))) {
    const inside = all.filter((index) => devices[index]?.faultUnit === unit);
    if (sum(inside.map((index) => shares[index] as number)) <= most) continue;
    const outside = all.filter((index) => devices[index]?.faultUnit !== unit);
    if (outside.length === 0) break;
    apportion(devices, inside, most, shares);
    apportion(devices, outside, copies - most, shares);
    // There can be only one that holds more than half.
    break;
  }
  return shares;
}

function apportion(devices: readonly ShareDevice[], among: readonly number[], copies: number, into: number[]): void {
  const capacity = (index: number) => (devices[index] as ShareDevice).capacityBytes;
  const perByte = copies / sum(among.map(capacity));
  for (const index of among) into[index] = Math.round(capacity(index) * perByte);
  /** By how much a device that is given `half` a copy would be fuller than the others. */
  const fullness = (index: number, half: number) => ((into[index] as number) + half) / capacity(index);
  for (let left = copies - sum(among.map((index) => into[index] as number)); left !== 0; left -= Math.sign(left)) {
    const step = Math.sign(left);
    let next = among[0] as number;
    for (const index of among) if (step * (fullness(index, step / 2) - fullness(next, step / 2)) < 0) next = index;
    into[next] = (into[next] as number) + step;
  }
}

function sum(numbers: Iterable<number>): number {
  let total = 0;
  for (const number of numbers) total += number;
  return total;
}
