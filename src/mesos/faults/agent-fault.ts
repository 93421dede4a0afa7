import type { FaultKindInfo } from "../../lib/fault.ts";

/** A call of dvdcli, as the agent makes it. */
export interface DvdcliCall {
  readonly order: "mount" | "unmount";
  /** Program and arguments. */
  readonly words: readonly string[];
}

/**
 * A kind of fault on agents (spec/marathon.md 12.8): something is run in dvdcli's place, or in front of it, so that all that
 * an agent does about it is real. One file a kind; types.ts lists them.
 */
export interface AgentFault extends FaultKindInfo {
  /** Answers what is run instead of the call's words; undefined: the call is left alone. */
  wrap(call: DvdcliCall, attributes: Readonly<Record<string, string>>): readonly string[] | undefined;
}

/** A text that a failing dvdcli says. */
export const TEXT = {
  help: "what dvdcli says",
  pattern: /^[^\0\n]{1,500}$/,
  default: "volume cannot be reached",
};

/** Says it on standard error and fails. */
export const failing = (text: string): readonly string[] => ["sh", "-c", 'echo "$0" >&2; exit 1', text];
