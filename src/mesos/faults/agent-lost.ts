import type { AgentFault } from "./agent-fault.ts";

/** As `agent kill`, for as long as the fault is there: tasks are lost, volumes stay mapped to the host and are not served. */
export const agentLost: AgentFault = {
  help: "the agent's host is lost, with all that it runs",
  attributes: {},
  steady: true,
  away: "host",
};
