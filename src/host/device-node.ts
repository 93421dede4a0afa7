import { closeSync, constants, openSync } from "node:fs";
import { errnoOf, SimError } from "../lib/errors.ts";

/** The devices that volumes need, and the kernel modules that have them. */
const MODULES = { "/dev/fuse": "fuse", "/dev/loop-control": "loop" } as const;

export type DeviceNode = keyof typeof MODULES;

/** Why a device does not open, and what to do. */
export interface DeviceProblem {
  readonly detail: string;
  readonly fix: string;
}

/** Opens it; the caller closes the descriptor. Throws host_failed, with the remedy. */
export function openDevice(file: DeviceNode): number {
  const opened = attempt(file);
  if (typeof opened === "number") return opened;
  throw new SimError("host_failed", `${opened.detail}: ${opened.fix}`);
}

/** Tries to open it; undefined: it opens. */
export function deviceProblem(file: DeviceNode): DeviceProblem | undefined {
  const opened = attempt(file);
  if (typeof opened !== "number") return opened;
  closeSync(opened);
  return undefined;
}

function attempt(file: DeviceNode): number | DeviceProblem {
  try {
    return openSync(file, constants.O_RDWR);
  } catch (error) {
    const errno = errnoOf(error) ?? String(error);
    return { detail: `${file} does not open (${errno})`, fix: fixOf(file, errno) };
  }
}

/** EPERM is a container's: the node is there, and the container's control group may not open it. */
function fixOf(file: DeviceNode, errno: string): string {
  const container = `in a container, give it the device (docker run --device ${file})`;
  if (errno === "EACCES") return "run as root";
  return errno === "EPERM" ? container : `\`modprobe ${MODULES[file]}\`; ${container}`;
}
