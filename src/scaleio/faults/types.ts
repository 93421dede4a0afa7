import type { FaultKindInfo, FaultSpec } from "../../lib/fault.ts";
import type { Files } from "../sdc/files.ts";
import { bitFlip } from "./bit-flip.ts";
import { disconnect } from "./disconnect.ts";
import type { DeviceFault } from "./fault-type.ts";
import { full } from "./full.ts";
import { ioError } from "./io-error.ts";
import { lostWrite } from "./lost-write.ts";
import { slow } from "./slow.ts";

/** All kinds of faults on devices, by the name that users call them. A new one is a file and a line here. */
export const DEVICE_FAULTS: Readonly<Record<string, DeviceFault>> = {
  "bit-flip": bitFlip,
  disconnect,
  full,
  "io-error": ioError,
  "lost-write": lostWrite,
  slow,
};

/** Faults of the MDM cluster. */
export const MDM_FAULTS: Readonly<Record<string, FaultKindInfo>> = {
  "mdm-down": { help: "a member of the MDM cluster is down", attributes: {} },
};

/** The file layer as a device with these faults has it; `files` itself when there are none. */
export function faulty(files: Files, faults: readonly FaultSpec[], random: () => number = Math.random): Files {
  return faults.reduce((below, { type, attributes, probability }) => {
    const fault = DEVICE_FAULTS[type];
    return fault === undefined ? below : fault.filter(below, attributes, () => random() < probability);
  }, files);
}
