import t from "tap";
import { shrink } from "./simulation/shrink.ts";
import { Simulation } from "./simulation/simulation.ts";

/** With SIMULATION_SEEDS so many seeds, otherwise as many as fit into the time. */
const SECONDS = Number(process.env["SIMULATION_SECONDS"] ?? 180);
const SEEDS = Number(process.env["SIMULATION_SEEDS"] ?? Number.POSITIVE_INFINITY);
const FIRST = Number(process.env["SIMULATION_SEED"] ?? 1);
/** The steps of a life: how many, or which ones ("3,7,12"). */
const STEPS = process.env["SIMULATION_STEPS"] ?? "300";
const steps = STEPS.includes(",") ? STEPS.split(",").filter(Boolean).map(Number) : [...Array(Number(STEPS)).keys()];

t.test(
  "simulated lives of a volume and its snapshots, each with kills, power losses, rot, failing devices and MDM members",
  { timeout: 0 },
  async (t) => {
    const end = SEEDS === Number.POSITIVE_INFINITY ? Date.now() + SECONDS * 1000 : Number.POSITIVE_INFINITY;
    let seed = FIRST;
    for (; seed < FIRST + SEEDS && Date.now() < end; seed++) {
      try {
        await new Simulation(seed).run(steps);
      } catch (error) {
        const fewer = (await shrink(steps, (some) => new Simulation(seed).run(some))).join(",");
        // In one line, as it can be typed: a failure's details are folded.
        t.comment(
          `replay: SIMULATION_SEED=${seed} SIMULATION_SEEDS=1 SIMULATION_STEPS=${fewer}, node --import=tsx ${process.argv[1]}`,
        );
        t.fail(`seed ${seed}: ${error instanceof Error ? error.stack : error}`);
        return;
      }
    }
    t.pass(`${seed - FIRST} lives: after every step all invariants held`);
    // Too few show nothing. On two cores it is some 200, with other tests beside it.
    if (SEEDS === Number.POSITIVE_INFINITY) t.ok(seed - FIRST >= SECONDS / 6, "as many as to show something");
  },
);
