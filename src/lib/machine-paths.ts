import path from "node:path";
import { SimError } from "./errors.ts";

/** Directories of a managed plugin's container, and what they are on the machine. */
export type MachinePaths = Readonly<Record<string, string>>;

const VARIABLE = "REXRAY_SIM_MACHINE_PATHS";

/** The environment in which {@link onMachine} knows these directories. */
export const machinePathsEnv = (paths: MachinePaths): Record<string, string> => ({ [VARIABLE]: JSON.stringify(paths) });

/**
 * A text as somebody on the machine reads it, who does not see the container: with his paths for those inside. For what people
 * read only: Docker itself wants mount points as they are in the container (docker-volume-plugin.md 13.3).
 */
export function onMachine(text: string, env: NodeJS.ProcessEnv = process.env): string {
  const paths = known(env);
  const inside = Object.keys(paths).map((directory) => directory.replace(/[.\\]/g, "\\$&"));
  if (inside.length === 0) return text;
  // The directory or what lies below it, and not /var/lib/rexray-sim for /var/lib/rexray.
  const whole = new RegExp(`(?<![\\w./-])(?:${inside.join("|")})(?![\\w-]|\\.\\w)`, "g");
  return text.replace(whole, (directory) => paths[directory] ?? directory);
}

/**
 * A directory of the machine's as the container has it. Throws invalid_argument for what lies nowhere below the known ones: made
 * in the container, it would be gone with the plugin's next version.
 */
export function inContainer(directory: string, env: NodeJS.ProcessEnv = process.env): string {
  const paths = Object.entries(known(env));
  if (paths.length === 0) return directory;
  for (const [inside, outside] of paths) {
    const below = path.relative(outside, directory);
    if (below !== ".." && !below.startsWith("../")) return path.join(inside, below);
  }
  const [, data] = paths[0] ?? [];
  throw new SimError(
    "invalid_argument",
    `${directory} cannot be reached by the plugin: name a directory below ${data} (data.source)`,
  );
}

const known = (env: NodeJS.ProcessEnv) => JSON.parse(env[VARIABLE] || "{}") as MachinePaths;
