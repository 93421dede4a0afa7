import type { FaultKindInfo, FaultSpec } from "../../lib/fault.ts";
import type { AgentFault, DvdcliCall } from "./agent-fault.ts";
import { mountFails } from "./mount-fails.ts";
import { mountHangs } from "./mount-hangs.ts";
import { unmountFails } from "./unmount-fails.ts";

/** Faults in front of dvdcli, by the name that users call them. A new one is a file and a line here. */
const DVDCLI_FAULTS: Readonly<Record<string, AgentFault>> = {
  "mount-fails": mountFails,
  "mount-hangs": mountHangs,
  "unmount-fails": unmountFails,
};

/** The host is lost for as long as the fault is there. */
export const AGENT_LOST = "agent-lost";
/** Nobody hears of the agent for as long as the fault is there; what it runs runs on. */
export const AGENT_PARTITIONED = "agent-partitioned";
/** As if docker/volume were not among the agent's `isolation`: tasks start without their volumes. */
export const NO_ISOLATOR = "no-isolator";

/** All kinds of faults on agents. */
export const AGENT_FAULTS: Readonly<Record<string, FaultKindInfo>> = {
  [AGENT_LOST]: { help: "the agent's host is lost, with all that it runs", attributes: {} },
  [AGENT_PARTITIONED]: { help: "nobody hears of the agent, but what it runs runs on", attributes: {} },
  [NO_ISOLATOR]: { help: "tasks start without their external volumes, and nobody says so", attributes: {} },
  ...DVDCLI_FAULTS,
};

/** What is run for a call of dvdcli under these faults: the call's own words if it meets none. */
export function wrapped(
  call: DvdcliCall,
  faults: readonly FaultSpec[],
  random: () => number = Math.random,
): readonly string[] {
  for (const { type, attributes, probability } of faults) {
    const words = DVDCLI_FAULTS[type]?.wrap(call, attributes);
    if (words !== undefined && random() < probability) return words;
  }
  return call.words;
}
