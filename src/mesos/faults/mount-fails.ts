import { type AgentFault, failing, TEXT } from "./agent-fault.ts";

/** The task fails with the text, and is tried again with growing delays. */
export const mountFails: AgentFault = {
  help: "dvdcli mount fails",
  attributes: { text: TEXT },
  wrap: ({ order }, { text = TEXT.default }) => (order === "mount" ? failing(text) : undefined),
};
