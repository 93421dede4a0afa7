import type { FaultSpec } from "../../lib/fault.ts";
import type { Files } from "../sdc/files.ts";
import { bitFlip } from "./bit-flip.ts";
import { disconnect } from "./disconnect.ts";
import type { DeviceFault } from "./fault-type.ts";
import { full } from "./full.ts";
import { ioError } from "./io-error.ts";
import { lostWrite } from "./lost-write.ts";
import { mdmDown } from "./mdm-down.ts";
import { sdcDisconnect } from "./sdc-disconnect.ts";
import { sdsStop } from "./sds-stop.ts";
import { slow } from "./slow.ts";
import type { SystemFault } from "./system-fault.ts";

/*
 * How to add a kind of fault: write a file beside this one that exports a DeviceFault (fault-type.ts: a filter over the file
 * layer; slow.ts is one in ten lines) or a SystemFault (system-fault.ts: something is down while it is there; mdm-down.ts), and
 * give it its name in the list below. For agents it is the same in mesos/faults/. That is all: `fault types`, the checks of
 * target and attributes, completion, listing, scenarios, `fault rm` and `fault reset` go by these lists.
 */

/** All kinds of faults on devices, by the name that users call them. */
export const DEVICE_FAULTS: Readonly<Record<string, DeviceFault>> = {
  "bit-flip": bitFlip,
  disconnect,
  full,
  "io-error": ioError,
  "lost-write": lostWrite,
  slow,
};

/** All kinds of faults of the cluster's other parts. Carried out from the last to the first: what changes the tables needs the MDM. */
export const SYSTEM_FAULTS: Readonly<Record<string, SystemFault>> = {
  "sds-stop": sdsStop,
  "sdc-disconnect": sdcDisconnect,
  "mdm-down": mdmDown,
};

/** The file layer as a device with these faults has it; `files` itself when there are none. */
export function faulty(files: Files, faults: readonly FaultSpec[], random: () => number = Math.random): Files {
  return faults.reduce((below, { type, attributes, probability }) => {
    const fault = DEVICE_FAULTS[type];
    return fault === undefined ? below : fault.filter(below, attributes, () => random() < probability);
  }, files);
}
