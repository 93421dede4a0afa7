import { type AgentFault, failing, TEXT } from "./agent-fault.ts";

/** The volume stays with the agent until it is started anew: Mesos does not try again. */
export const unmountFails: AgentFault = {
  help: "dvdcli unmount fails",
  attributes: { text: TEXT },
  wrap: ({ order }, { text = TEXT.default }) => (order === "unmount" ? failing(text) : undefined),
};
