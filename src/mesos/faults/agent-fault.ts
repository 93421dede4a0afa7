import type { FaultKindInfo } from "../../lib/fault.ts";

/** A call of dvdcli, as the agent makes it. */
export interface DvdcliCall {
  readonly order: "mount" | "unmount";
  /** Program and arguments. */
  readonly words: readonly string[];
}

/**
 * A kind of fault on agents (spec/marathon.md 12.8): it does one of these things. One file a kind; types.ts lists them.
 */
export interface AgentFault extends FaultKindInfo {
  /**
   * Something is run in dvdcli's place, or in front of it, so that all that an agent does about it is real. Answers what is run
   * instead of the call's words; undefined: the call is left alone.
   */
  wrap?(call: DvdcliCall, attributes: Readonly<Record<string, string>>): readonly string[] | undefined;
  /** The master has lost the agent for as long as the fault is there: its host with all that it runs, or the way to it. */
  readonly away?: "host" | "network";
  /** Tasks are started without their volumes. */
  readonly withoutIsolator?: true;
}

/** A text that a failing dvdcli says. */
export const TEXT = {
  help: "what dvdcli says",
  pattern: /^[^\0\n]{1,500}$/,
  default: "volume cannot be reached",
};

/** Says it on standard error and fails. */
export const failing = (text: string): readonly string[] => ["sh", "-c", 'echo "$0" >&2; exit 1', text];
