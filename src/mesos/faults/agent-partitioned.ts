import type { AgentFault } from "./agent-fault.ts";

/** What it runs and has mounted stays as it is; whatever was replaced meanwhile is killed when it is heard of again. */
export const agentPartitioned: AgentFault = {
  help: "nobody hears of the agent, but what it runs runs on",
  attributes: {},
  steady: true,
  away: "network",
};
