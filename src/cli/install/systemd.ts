import fs from "node:fs";
import { run } from "../../host/exec.ts";

const UNITS = ["rexray-sim.service", "rexray-sim.socket"];

/** Whether systemd runs this machine, and the root is this machine's and not a staging root (sd_booted(3)). */
export const systemdRuns = (root: string): boolean => root === "/" && fs.existsSync("/run/systemd/system");

export async function reload(): Promise<void> {
  await run("systemctl", ["daemon-reload"]);
}

/** Stops listening, and no longer at boot. */
export async function disable(): Promise<void> {
  await run("systemctl", ["disable", "--now", ...UNITS]);
}
