/** A change that is not on the platter: whole pages; without data it is a hole. */
export interface Pending {
  readonly position: number;
  readonly length: number;
  readonly data: Buffer | undefined;
}

/** The parts of the changes that lie in the range of whole pages, and the others. */
export function divided(changes: readonly Pending[], position: number, length: number): [Pending[], Pending[]] {
  const [inside, outside]: [Pending[], Pending[]] = [[], []];
  for (const change of changes) {
    const end = change.position + change.length;
    const [first, last] = [position, position + length].map((at) => Math.min(Math.max(at, change.position), end)) as [
      number,
      number,
    ];
    const part = (into: Pending[], from: number, to: number) => {
      const data = change.data?.subarray(from - change.position, to - change.position);
      if (to > from) into.push({ position: from, length: to - from, data });
    };
    part(outside, change.position, first);
    part(inside, first, last);
    part(outside, last, end);
  }
  return [inside, outside];
}
