import t from "tap";
import { Simulation } from "./simulation.ts";

/** With SIMULATION_SEEDS so many seeds, otherwise as many as fit into the time. */
const SECONDS = Number(process.env["SIMULATION_SECONDS"] ?? 120);
const SEEDS = Number(process.env["SIMULATION_SEEDS"] ?? Number.POSITIVE_INFINITY);
const FIRST = Number(process.env["SIMULATION_SEED"] ?? 1);
const STEPS = Number(process.env["SIMULATION_STEPS"] ?? 300);

/** The fewest steps after which the life fails, so that there is less to look at. */
function shrink(seed: number): number {
  const fails = (steps: number) => {
    try {
      new Simulation(seed).run(steps);
      return false;
    } catch {
      return true;
    }
  };
  let [low, high] = [0, STEPS];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (fails(middle)) high = middle;
    else low = middle;
  }
  return high;
}

t.test(
  "simulated lives of a volume and its snapshots, each with kills, power losses, rot and failing devices",
  { timeout: 0 },
  async (t) => {
    const end = SEEDS === Number.POSITIVE_INFINITY ? Date.now() + SECONDS * 1000 : Number.POSITIVE_INFINITY;
    let seed = FIRST;
    for (; seed < FIRST + SEEDS && Date.now() < end; seed++) {
      try {
        new Simulation(seed).run(STEPS);
      } catch (error) {
        t.fail(`seed ${seed}: ${error instanceof Error ? error.stack : error}`, {
          replay: `SIMULATION_SEED=${seed} SIMULATION_SEEDS=1 SIMULATION_STEPS=${shrink(seed)} node --import=tsx test/scaleio/sdc/simulation.test.ts`,
        });
        return;
      }
    }
    t.pass(`${seed - FIRST} lives: every read was allowed, and in the end all copies were the same`);
  },
);
