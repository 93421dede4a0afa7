import type { Test } from "tap";

/** Seconds of seeded lives in one test. */
const SECONDS = Number(process.env["LIFE_SECONDS"] ?? 3);
/** The first seed. */
const FIRST = Number(process.env["LIFE_SEED"] ?? 1);

/** How many steps a life has, to have one again that failed early. */
const STEPS = process.env["LIFE_STEPS"];

type Life = new (seed: number) => { run(steps: number): void | Promise<void> };

/** Runs one life after another for some seconds, each with a seed of its own; a failure says how to have it again. */
export async function testLives(t: Test, Simulation: Life, wanted: number): Promise<void> {
  const steps = Number(STEPS ?? wanted);
  const end = Date.now() + SECONDS * 1000;
  let seed = FIRST;
  do {
    try {
      await new Simulation(seed).run(steps);
    } catch (error) {
      const few = await fewest(Simulation, seed, steps);
      // In one line, as it can be typed: a failure's details are folded.
      t.comment(`replay: LIFE_SEED=${seed} LIFE_STEPS=${few} LIFE_SECONDS=0 node --import=tsx ${process.argv[1]}`);
      t.fail(`seed ${seed}: ${error instanceof Error ? error.stack : error}`);
      return;
    }
    seed++;
  } while (Date.now() < end);
  t.pass(`${seed - FIRST} lives`);
}

/** The fewest steps with which the life fails: what it does in them does not depend on those that follow. */
async function fewest(Simulation: Life, seed: number, steps: number): Promise<number> {
  let [good, bad] = [-1, steps];
  while (bad - good > 1) {
    const middle = Math.floor((good + bad) / 2);
    try {
      await new Simulation(seed).run(middle);
      good = middle;
    } catch {
      bad = middle;
    }
  }
  return bad;
}
