import type { FaultSpec } from "../../lib/fault.ts";
import type { AgentFault, DvdcliCall } from "./agent-fault.ts";
import { agentLost } from "./agent-lost.ts";
import { agentPartitioned } from "./agent-partitioned.ts";
import { mountFails } from "./mount-fails.ts";
import { mountHangs } from "./mount-hangs.ts";
import { noIsolator } from "./no-isolator.ts";
import { unmountFails } from "./unmount-fails.ts";

/** All kinds of faults on agents, by the name that users call them. How to add one: scaleio/faults/types.ts. */
export const AGENT_FAULTS: Readonly<Record<string, AgentFault>> = {
  "agent-lost": agentLost,
  "agent-partitioned": agentPartitioned,
  "mount-fails": mountFails,
  "mount-hangs": mountHangs,
  "no-isolator": noIsolator,
  "unmount-fails": unmountFails,
};

/** What is run for a call of dvdcli under these faults: the call's own words if it meets none. */
export function wrapped(
  call: DvdcliCall,
  faults: readonly FaultSpec[],
  random: () => number = Math.random,
): readonly string[] {
  for (const { type, attributes, probability } of faults) {
    const words = AGENT_FAULTS[type]?.wrap?.(call, attributes);
    if (words !== undefined && random() < probability) return words;
  }
  return call.words;
}

/** How the master has lost an agent with these faults; undefined: it has not. A lost host is more than a lost way to it. */
export function awayBy(faults: readonly FaultSpec[]): AgentFault["away"] {
  const ways = faults.map(({ type }) => AGENT_FAULTS[type]?.away);
  return ways.find((away) => away === "host") ?? ways.find((away) => away !== undefined);
}

/** Whether an agent with these faults starts tasks without their volumes. */
export const isWithoutIsolator = (faults: readonly FaultSpec[]): boolean =>
  faults.some(({ type }) => AGENT_FAULTS[type]?.withoutIsolator === true);
