import type { FaultSpec } from "../../lib/fault.ts";
import type { SystemFault } from "./system-fault.ts";

const TYPE = "sds-stop";

/**
 * As the order `sds stop`, until the fault is taken away. A node that is down already cannot have it: nobody could say whether
 * it is to come back then.
 */
export const sdsStop: SystemFault = {
  help: "a node is down, as after a power cut; it is started when the fault is taken away",
  attributes: {},
  steady: true,
  targets: ({ state }) => state().sds.flatMap(({ name, state }) => (state === "up" ? [name] : [])),
  async apply(system, faults, removed) {
    const stateOf = (target: string) => system.state().sds.find(({ name }) => name === target)?.state;
    for (const { target } of faults) if (stateOf(target) === "up") await system.stopSds(target);
    // One that was removed meanwhile is gone.
    for (const { target } of removed) if (stateOf(target) === "stopped") await system.startSds(target);
  },
};

/** The fault that keeps a node stopped. */
export const stopOf = (faults: readonly FaultSpec[], sds: string): FaultSpec | undefined =>
  faults.find(({ type, target }) => type === TYPE && target === sds);
