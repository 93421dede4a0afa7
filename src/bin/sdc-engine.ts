import fs from "node:fs";
import { Engine, EXIT_CANNOT_SERVE } from "../scaleio/sdc/engine.ts";

// sdc-engine.js SUPERVISOR, in a volume's run directory: serves a mounted volume from descriptor 3, beside the supervisor with that
// process id. sdc-engine.js --repair makes an unmounted one good. The daemon runs this, people need not.
try {
  // The kernel must not pick the process through which it cleans its own caches.
  fs.writeFileSync("/proc/self/oom_score_adj", "-900");
} catch {
  // Needs privileges that a container may not have; it is a precaution only.
}

// A supervisor of a former version does not say who it is.
const { 2: order = `${process.ppid}` } = process.argv;
const isRepair = order === "--repair";
const engine = new Engine(isRepair ? process.ppid : Number(order));
try {
  process.exitCode = isRepair ? engine.repair() : engine.serve();
} catch (error) {
  console.error(`${new Date().toISOString()} engine: ${error instanceof Error ? error.stack : error}`);
  // A volume that cannot be opened will not open the next time either; anything later deserves another try.
  process.exitCode = engine.refused ? EXIT_CANNOT_SERVE : 1;
}
