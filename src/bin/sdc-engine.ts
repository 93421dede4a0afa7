import fs from "node:fs";
import { asSimError } from "../lib/errors.ts";
import { Engine, EXIT_CANNOT_SERVE } from "../scaleio/sdc/engine.ts";
import { replaceJson, sessionFiles } from "../scaleio/sdc/session.ts";

// sdc-engine.js RUN_DIRECTORY [--repair]: serves a mounted volume from descriptor 3, or makes an unmounted one good.
const [dir, mode] = process.argv.slice(2);
if (dir === undefined) {
  console.error("usage: sdc-engine.js RUN_DIRECTORY [--repair]; the rexray-sim daemon runs this, people need not");
  process.exit(EXIT_CANNOT_SERVE);
}
try {
  // The kernel must not pick the process through which it cleans its own caches.
  fs.writeFileSync("/proc/self/oom_score_adj", "-900");
} catch {
  // Needs privileges that a container may not have; it is a precaution only.
}

let engine: Engine | undefined;
try {
  engine = new Engine(dir);
  process.exitCode = mode === "--repair" ? engine.repair() : engine.serve();
} catch (error) {
  console.error(`${new Date().toISOString()} engine of ${dir}: ${error instanceof Error ? error.stack : error}`);
  // A volume that cannot be opened will not open the next time either; anything later deserves another try.
  process.exitCode = engine === undefined ? EXIT_CANNOT_SERVE : 1;
  const { code, message } = asSimError(error);
  if (engine === undefined) replaceJson(sessionFiles(dir).failure, { code, message });
}
