import fs from "node:fs";
import path from "node:path";
import { errnoOf, SimError } from "../../lib/errors.ts";
import { syncDirectory } from "../../lib/sync-directory.ts";
import type { Id } from "../model.ts";

const FORMAT = 1;
const LABEL = "device.json";

/** The file by which a directory is a device. */
export const labelOf = (directory: string): string => path.join(directory, LABEL);

/** Whose device a directory is. */
export interface DeviceLabel {
  readonly systemId: Id;
  readonly sdsName: string;
  readonly deviceId: Id;
}

/**
 * Makes a directory a device. A label that an interrupted founding left is replaced; a directory with volumes on it belongs
 * to somebody and is refused. Throws in_use, errno errors.
 */
export function createLabel(directory: string, label: DeviceLabel): void {
  if (fs.readdirSync(directory).some((name) => name.endsWith(".vol"))) {
    throw new SimError(
      "in_use",
      `${directory} holds volumes of another system: name another directory in simulator.sds, or empty this one`,
    );
  }
  const file = labelOf(directory);
  fs.writeFileSync(file, `${JSON.stringify({ format: FORMAT, ...label }, undefined, 2)}\n`, {
    mode: 0o600,
    flush: true,
  });
  syncDirectory(directory);
}

/** The directory is no device any more, and is removed when nothing else lies in it. */
export function removeLabel(directory: string): void {
  try {
    fs.unlinkSync(labelOf(directory));
    fs.rmdirSync(directory);
  } catch {
    // Out of reach, or somebody has put something there: it stays.
  }
}

/**
 * Throws unless the directory is this device: unavailable when it is missing, state_corrupt when it is another one,
 * state_newer. A missing device is never made anew: an empty one would pass for one that holds zeros.
 */
export function checkLabel(directory: string, expected: DeviceLabel): void {
  const file = labelOf(directory);
  let text: string;
  try {
    text = fs.readFileSync(file, "utf8");
  } catch (error) {
    throw new SimError(
      "unavailable",
      `${file} cannot be read (${errnoOf(error) ?? error}): the device of ${expected.sdsName} is missing; mount or restore ${directory}, then \`rexray-sim sds start ${expected.sdsName}\``,
      { cause: error },
    );
  }
  let found: Partial<DeviceLabel> & { format?: number };
  try {
    found = JSON.parse(text) as typeof found;
  } catch (error) {
    throw new SimError(
      "state_corrupt",
      `${file} is not a device label: restore it, its id is ${expected.deviceId} of system ${expected.systemId}`,
      { cause: error },
    );
  }
  if (typeof found.format === "number" && found.format > FORMAT) {
    throw new SimError(
      "state_newer",
      `${file} has format ${found.format}, this version reads ${FORMAT}: use the newer rexray-sim`,
    );
  }
  if (found.systemId !== expected.systemId || found.deviceId !== expected.deviceId) {
    throw new SimError(
      "state_corrupt",
      `${directory} is device ${found.deviceId} of system ${found.systemId}, not ${expected.deviceId} of ${expected.systemId}: mount the right one`,
    );
  }
}
