import type { Test } from "tap";

/** Seconds of seeded lives in one test. */
const SECONDS = Number(process.env["LIFE_SECONDS"] ?? 3);
/** The first seed. */
const FIRST = Number(process.env["LIFE_SEED"] ?? 1);

/** Runs one life after another for some seconds, each with a seed of its own; a failure says how to have it again. */
export async function testLives(
  t: Test,
  Simulation: new (seed: number) => { run(steps: number): void | Promise<void> },
  steps: number,
): Promise<void> {
  const end = Date.now() + SECONDS * 1000;
  let seed = FIRST;
  do {
    try {
      await new Simulation(seed).run(steps);
    } catch (error) {
      t.fail(`seed ${seed}: ${error instanceof Error ? error.stack : error}`, {
        replay: `LIFE_SEED=${seed} LIFE_SECONDS=0 node --import=tsx ${process.argv[1]}`,
      });
      return;
    }
    seed++;
  } while (Date.now() < end);
  t.pass(`${seed - FIRST} lives`);
}
