import type { AgentFault } from "./agent-fault.ts";

/** As if docker/volume were not among the agent's `isolation`. */
export const noIsolator: AgentFault = {
  help: "tasks start without their external volumes, and nobody says so",
  attributes: {},
  steady: true,
  withoutIsolator: true,
};
