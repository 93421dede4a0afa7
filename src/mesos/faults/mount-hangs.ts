import type { AgentFault } from "./agent-fault.ts";

/** Longer than an agent's patience it ends in a failure, shorter in a late start. */
export const mountHangs: AgentFault = {
  help: "dvdcli mount takes its time; an agent waits for two minutes",
  attributes: { seconds: { help: "how long (s, 1 to 9999)", pattern: /^[1-9]\d{0,3}$/, default: "600" } },
  wrap: ({ order, words }, { seconds = "600" }) =>
    order === "mount" ? ["sh", "-c", 'sleep "$0"; exec "$@"', seconds, ...words] : undefined,
};
