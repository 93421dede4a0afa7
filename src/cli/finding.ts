import { SimError } from "../lib/errors.ts";

/** The outcome of one check. */
export interface Finding {
  readonly name: string;
  /** warning: it works, but less well; it does not fail the examination. */
  readonly state: "ok" | "warning" | "failed";
  /** What was seen. */
  readonly detail: string;
  /** What to do, in one line; "" when ok. */
  readonly fix: string;
}

export const ok = (name: string, detail: string): Finding => ({ name, state: "ok", detail, fix: "" });
export const warning = (name: string, detail: string, fix: string): Finding => ({
  name,
  state: "warning",
  detail,
  fix,
});
export const failed = (name: string, detail: string, fix: string): Finding => ({ name, state: "failed", detail, fix });

/** What the findings warn of, for a command that goes on all the same. Throws host_failed with the first failure and its fix. */
export function warningsOf(findings: readonly Finding[]): string[] {
  const failure = findings.find(({ state }) => state === "failed");
  if (failure !== undefined) throw new SimError("host_failed", `${failure.detail}: ${failure.fix}`);
  return findings.filter(({ state }) => state === "warning").map(({ detail, fix }) => `${detail}: ${fix}`);
}
