import fs from "node:fs";
import path from "node:path";
import { type Dirs, runFiles } from "../lib/dirs.ts";
import { errnoOf } from "../lib/errors.ts";
import { shortenLog } from "../lib/log-file.ts";

/** How often the logs are looked at (ms). */
const EVERY_MS = 30_000;
const GONE = ["ENOENT", "ENOTDIR"];

/**
 * Keeps the logs of an instance short while those run who append to them: the engines', the agents' and the daemon's own. One
 * look is over when this answers; answers what ends it.
 */
export function keepLogsShort(dirs: Dirs, { warn, every = EVERY_MS }: Options): () => void {
  const look = () => {
    for (const file of logsOf(dirs)) {
      try {
        shortenLog(file);
      } catch (error) {
        // Engines come and go.
        if (!GONE.includes(errnoOf(error) ?? "")) warn(`${file} cannot be kept short: ${(error as Error).message}`);
      }
    }
  };
  look();
  const timer = setInterval(look, every).unref();
  return () => clearInterval(timer);
}

interface Options {
  readonly warn: (message: string) => void;
  readonly every?: number;
}

/** Beside the daemon's own, every `.log` in a directory of a volume, of an agent, or in the one of all volumes. */
function logsOf({ stateDir, runDir }: Dirs): string[] {
  const [engines, agents] = [path.join(runDir, "sdc"), path.join(stateDir, "agents")];
  const below = (dir: string) => (fs.existsSync(dir) ? fs.readdirSync(dir).map((name) => path.join(dir, name)) : []);
  return [
    runFiles(runDir).log,
    ...below(engines).map((each) => (each.endsWith(".log") ? each : path.join(each, "engine.log"))),
    ...below(agents).map((each) => path.join(each, "agent.log")),
  ];
}
