import fs from "node:fs";
import path from "node:path";
import { mountsOf } from "../../host/mountinfo.ts";
import { SimError } from "../../lib/errors.ts";
import { type Context, EXIT } from "../context.ts";
import { MANIFEST, readManifest } from "./manifest.ts";
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
export async function uninstall(context: Context, { root, purge }: { root: string; purge: boolean }): Promise<number> {
  const stateDir = path.join(root, STATE_DIR);
  const manifest = readManifest(root);
  if (manifest !== undefined || purge) await refuseWhileUsed({ stateDir, runDir: path.join(root, RUN_DIR) });
  try {
    if (manifest === undefined) {
      context.err(`nothing to uninstall: there is no ${path.join(root, MANIFEST)}\n`);
    } else {
      const running = systemdRuns(root);
      if (running) await disable();
      removeFiles(root, [...manifest.files, MANIFEST]);
      removeEmpty(root, manifest.directories);
      if (running) await reload();
      context.err(`uninstalled rexray-sim ${manifest.version}\n`);
    }
    if (!purge) {
      if (fs.existsSync(stateDir)) context.err(`volumes and their data stay in ${stateDir}; --purge removes them\n`);
      return EXIT.ok;
    }
    empty(stateDir);
    // A disk of its own that is mounted there stays, empty.
    if (!isMounted(stateDir)) fs.rmSync(stateDir, { recursive: true, force: true });
    context.err(`the volumes and their data in ${stateDir} are removed\n`);
    return EXIT.ok;
  } catch (error) {
    if (error instanceof SimError) throw error;
    const message = `cannot uninstall below ${root}: ${(error as Error).message}; run as root`;
    throw new SimError("host_failed", message, { cause: error });
  }
}

function empty(dir: string): void {
  if (!fs.existsSync(dir)) return;
  for (const name of fs.readdirSync(dir)) fs.rmSync(path.join(dir, name), { recursive: true });
}

const isMounted = (dir: string): boolean => mountsOf(({ mountpoint }) => mountpoint === dir).length > 0;
