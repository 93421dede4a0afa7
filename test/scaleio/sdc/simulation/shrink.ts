/**
 * The fewest of these steps with which the life still fails: leaves out parts, smaller and smaller ones, while it does. Takes
 * no longer than `limitMs`.
 */
export async function shrink(
  steps: readonly number[],
  live: (steps: readonly number[]) => Promise<void>,
  limitMs = 60_000,
): Promise<readonly number[]> {
  const end = Date.now() + limitMs;
  const fails = (some: readonly number[]) =>
    live(some).then(
      () => false,
      () => true,
    );
  let left = steps;
  for (let part = Math.ceil(left.length / 2); part >= 1; part = part === 1 ? 0 : Math.ceil(part / 2)) {
    for (let at = 0; at < left.length && Date.now() < end; ) {
      const fewer = left.toSpliced(at, part);
      if (await fails(fewer)) left = fewer;
      else at += part;
    }
  }
  return left;
}
