import fs from "node:fs";
import { Engine, EXIT_CANNOT_SERVE } from "../scaleio/sdc/engine.ts";

// sdc-engine.js [--repair], in a volume's run directory: serves a mounted volume from descriptor 3, or makes an unmounted
// one good. The daemon runs this, people need not.
try {
  // The kernel must not pick the process through which it cleans its own caches.
  fs.writeFileSync("/proc/self/oom_score_adj", "-900");
} catch {
  // Needs privileges that a container may not have; it is a precaution only.
}

const engine = new Engine();
try {
  process.exitCode = process.argv[2] === "--repair" ? engine.repair() : engine.serve();
} catch (error) {
  console.error(`${new Date().toISOString()} engine: ${error instanceof Error ? error.stack : error}`);
  // A volume that cannot be opened will not open the next time either; anything later deserves another try.
  process.exitCode = engine.refused ? EXIT_CANNOT_SERVE : 1;
}
