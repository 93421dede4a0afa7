import t from "tap";
import { Simulation } from "./simulation.ts";

const SEEDS = Number(process.env["SIMULATION_SEEDS"] ?? 60);
const FIRST = Number(process.env["SIMULATION_SEED"] ?? 1);

t.test(`${SEEDS} simulated lives of a volume, each with kills, power losses and failing devices`, async (t) => {
  for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
    try {
      new Simulation(seed).run(300);
    } catch (error) {
      t.fail(`seed ${seed}: ${error instanceof Error ? error.stack : error}`, {
        replay: `SIMULATION_SEED=${seed} SIMULATION_SEEDS=1 node --import=tsx test/scaleio/sdc/simulation.test.ts`,
      });
      return;
    }
  }
  t.pass("every read was allowed, and in the end both copies were the same");
});
