import fs from "node:fs";
import path from "node:path";
import { mountsOf } from "../../host/mountinfo.ts";
import { SimError } from "../../lib/errors.ts";
import { type Asked, tell } from "../answer.ts";
import { type Context, EXIT } from "../context.ts";
import { devicesElsewhere } from "./devices.ts";
import { MANIFEST, type Manifest, readManifest } from "./manifest.ts";
import { removeEmpty, removeFiles } from "./remove.ts";
import { disable, reload, systemdRuns } from "./systemd.ts";
import { refuseWhileUsed } from "./used.ts";

/** As the units have it. */
const STATE_DIR = "/var/lib/rexray-sim";
const RUN_DIR = "/run/rexray-sim";

/**
 * `rexray-sim uninstall`: takes exactly what was installed away. Not while anything is served: the engine of a mounted
 * volume that dies is started again from the installed programs.
 */
export async function uninstall(
  context: Context,
  options: Pick<Asked, "json"> & { root: string; purge: boolean },
): Promise<number> {
  const { root, purge } = options;
  const stateDir = path.join(root, STATE_DIR);
  const manifest = readManifest(root);
  if (manifest !== undefined || purge) await refuseWhileUsed({ stateDir, runDir: path.join(root, RUN_DIR) });
  try {
    if (manifest !== undefined) await takeAway(root, manifest);
    const elsewhere = devicesElsewhere(stateDir);
    const there = fs.existsSync(stateDir);
    if (purge) purgeState(stateDir);
    const data = dataText(stateDir, elsewhere, purge ? "removed" : there ? "stays" : "none");
    const programs =
      manifest === undefined
        ? `nothing to uninstall: there is no ${path.join(root, MANIFEST)}`
        : `uninstalled rexray-sim ${manifest.version}`;
    const value = { uninstalled: manifest?.version ?? null, stateDir, purged: purge, elsewhere };
    tell(context, options, value, `${[programs, ...data].join("\n")}\n`);
    return EXIT.ok;
  } catch (error) {
    if (error instanceof SimError) throw error;
    const message = `cannot uninstall below ${root}: ${(error as Error).message}; run as root`;
    throw new SimError("host_failed", message, { cause: error });
  }
}

async function takeAway(root: string, { files, directories }: Manifest): Promise<void> {
  const running = systemdRuns(root);
  if (running) await disable();
  removeFiles(root, [...files, MANIFEST]);
  removeEmpty(root, directories);
  if (running) await reload();
}

/** A disk of its own that is mounted there stays, empty. */
function purgeState(stateDir: string): void {
  empty(stateDir);
  if (!isMounted(stateDir)) fs.rmSync(stateDir, { recursive: true, force: true });
}

/** What a person is told of the data; a disk of his own is not ours to clear. */
function dataText(stateDir: string, elsewhere: readonly string[], state: "removed" | "stays" | "none"): string[] {
  if (state === "stays") return [`volumes and their data stay in ${stateDir}; --purge removes them`];
  if (state === "none") return [];
  const places = elsewhere.join(" ");
  return [
    `the volumes and their data in ${stateDir} are removed`,
    ...(places === "" ? [] : [`copies of them stay on devices that were put elsewhere: remove ${places} yourself`]),
  ];
}

function empty(dir: string): void {
  if (!fs.existsSync(dir)) return;
  for (const name of fs.readdirSync(dir)) fs.rmSync(path.join(dir, name), { recursive: true });
}

const isMounted = (dir: string): boolean => mountsOf(({ mountpoint }) => mountpoint === dir).length > 0;
