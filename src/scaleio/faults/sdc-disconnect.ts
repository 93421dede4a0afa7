import type { FaultSpec } from "../../lib/fault.ts";
import type { VolumeRecord } from "../model.ts";
import type { SystemFault } from "./system-fault.ts";

const TYPE = "sdc-disconnect";
/** All hosts. */
const ALL = "all";

/**
 * The SDC's side of a lost network (spec/scaleio.md 1.6): what applications ask for waits until the SDC is back, or ends in an
 * error when it has waited for too long. The copies are well, and are rebuilt meanwhile if they have to be. The engine carries
 * it out (sdc/held-requests.ts).
 */
export const sdcDisconnect: SystemFault = {
  help: "a host's SDC reaches no SDS: I/O waits until it does again; on a volume, a host or all",
  attributes: {
    limit: {
      help: "after how long a request fails with EIO (s, to 9999; 0: never)",
      pattern: /^\d{1,4}$/,
      default: "0",
    },
  },
  steady: true,
  targets: ({ hosts, state }) => [ALL, ...hosts, ...[...state().volumes.values()].map(({ name }) => name)],
  apply: (system) => system.changed(),
};

/** The fault that cuts a volume in use off, if there is one. */
export const disconnectOf = (
  faults: readonly FaultSpec[],
  { name, mappedTo }: Pick<VolumeRecord, "name" | "mappedTo">,
): FaultSpec | undefined =>
  mappedTo === null
    ? undefined
    : faults.find(({ type, target }) => type === TYPE && [ALL, mappedTo, name].includes(target));

/** How long a request may wait (ms); 0: for ever. */
export const limitMsOf = ({ attributes }: FaultSpec): number => Number(attributes["limit"] ?? 0) * 1000;
