import { randomUUID } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { parseMountinfo } from "../host/mountinfo.ts";
import { outsideOf } from "../host/outside.ts";
import { replaceFile } from "../lib/atomic-file.ts";
import type { Dirs } from "../lib/dirs.ts";
import { SimError } from "../lib/errors.ts";
import type { MachinePaths } from "../lib/machine-paths.ts";

/**
 * Life as a Docker managed plugin (docker-volume-plugin.md 13): what differs from a daemon on the machine itself. The
 * container and all its processes end with the daemon, so the daemon ends as if the machine were switched off; settings
 * have other names; and the data may be out of reach at a start.
 */

/** What a REX-Ray plugin's settings are called in REX-Ray's configuration (spec/rexray.md 11). */
const NAMES: Readonly<Record<string, string>> = {
  REXRAY_FSTYPE: "LIBSTORAGE_INTEGRATION_VOLUME_OPERATIONS_CREATE_DEFAULT_FSTYPE",
  REXRAY_PREEMPT: "LIBSTORAGE_INTEGRATION_VOLUME_OPERATIONS_MOUNT_PREEMPT",
  LINUX_VOLUME_ROOTPATH: "LIBSTORAGE_INTEGRATION_VOLUME_OPERATIONS_MOUNT_ROOTPATH",
};

/** Gives the settings the names that the configuration knows; those that were left empty are not there. */
export function renameSettings(env: NodeJS.ProcessEnv): void {
  for (const [name, value] of Object.entries(env)) {
    const known = NAMES[name];
    if (value === "") delete env[name];
    else if (known !== undefined && !env[known]) env[known] = value;
  }
}

/** The directory that Docker shares with the machine, `propagatedMount` in config.json. It outlives upgrades. */
const PROPAGATED = "/var/lib/rexray";
/** Which data the plugin has. */
const MEMORY = path.join(PROPAGATED, "data.json");
/** By what the data are known again, among themselves. */
const idFile = (stateDir: string) => path.join(stateDir, "data-id");

interface Memory {
  readonly id: string;
  /** Where the data were on the machine, for messages. */
  readonly source: string;
}

/** Directories for the names of the volumes, so that Docker is not told that they are gone when the data are out of reach. */
export const namesDirs = (stateDir: string): string[] => [path.join(PROPAGATED, "names"), path.join(stateDir, "names")];

/** What the directories of the plugin are on the machine, as far as that can be seen from here. */
export function machinePaths({ stateDir, pluginDir }: Dirs): MachinePaths {
  const [own, machine] = [mountsOf("self"), mountsOf("1")];
  const known = [path.dirname(stateDir), PROPAGATED, pluginDir].flatMap((directory) => {
    const outside = outsideOf(directory, own, machine);
    return outside === undefined ? [] : [[directory, outside] as const];
  });
  return Object.fromEntries(known);
}

const mountsOf = (pid: "self" | "1") => parseMountinfo(fs.readFileSync(`/proc/${pid}/mountinfo`, "utf8"));

/**
 * Docker's upgrade forgets where the data are (`data.source`), and a file system may be missing, or be there and not shown to the
 * plugin: one that began anew then would hand out empty volumes under the names of full ones. Throws invalid_argument when the
 * plugin had data, and those in the state directory are not they, or are not what the machine has in its place.
 */
export function checkData(stateDir: string, paths: MachinePaths): void {
  const name = path.basename(stateDir);
  const now = path.join(sourceOf(stateDir, paths), name);
  if (mountsOf("1").some(({ mountpoint }) => mountpoint === now)) {
    throw new SimError(
      "invalid_argument",
      `${now} is a file system of its own, which the plugin does not see: \`docker plugin set PLUGIN data.source=${now}\` makes it use ${now}/${name}`,
    );
  }
  if (!fs.existsSync(MEMORY)) return;
  const { id, source } = JSON.parse(fs.readFileSync(MEMORY, "utf8")) as Memory;
  if (id === idOf(stateDir)) return;
  const before = path.join(source, name);
  const remedy = before === now ? "mount what they are on" : `\`docker plugin set PLUGIN data.source=${source}\``;
  throw new SimError(
    "invalid_argument",
    `the data of this plugin were in ${before} and are not in ${now}: ${remedy}, or remove ${MEMORY} to go on without them`,
  );
}

/** Remembers for the next start which data the plugin has. */
export async function rememberData(stateDir: string, paths: MachinePaths): Promise<void> {
  const id = idOf(stateDir) ?? randomUUID();
  await replaceFile(idFile(stateDir), `${id}\n`);
  const memory: Memory = { id, source: sourceOf(stateDir, paths) };
  await replaceFile(MEMORY, `${JSON.stringify(memory)}\n`);
}

const sourceOf = (stateDir: string, paths: MachinePaths): string =>
  paths[path.dirname(stateDir)] ?? path.dirname(stateDir);

function idOf(stateDir: string): string | undefined {
  return fs.existsSync(idFile(stateDir)) ? fs.readFileSync(idFile(stateDir), "utf8").trim() : undefined;
}
