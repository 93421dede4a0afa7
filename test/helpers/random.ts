export type Random = () => number;

/** Numbers in [0, 1), the same for the same seed: small, good enough (mulberry32). */
export function randomOf(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), 1 | state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296;
  };
}

/** A seed of its own for each step of a life, so that the others stay what they are when one is left out. */
export const seedOf = (seed: number, step: number): number =>
  Math.imul(seed, 0x9e3779b1) ^ Math.imul(step + 1, 0x85ebca6b);
