import type { StatusReport } from "../../admin/report.ts";
import type { AppOverview } from "../../marathon/overview.ts";
import type { AgentStatus } from "../../mesos/agents-api.ts";
import type { SystemEvent } from "../../scaleio/model.ts";
import { WORDS } from "../agent.ts";

/** What an expectation is held against. */
export interface Facts {
  readonly status: StatusReport;
  /** Since the scenario began. */
  readonly events: readonly SystemEvent[];
  readonly agents: readonly AgentStatus[];
  readonly apps: readonly AppOverview[];
}

type Check = (facts: Facts, ...words: (string | undefined)[]) => { readonly met: boolean; readonly seen: string };

/** What can be expected: the words after `expect`, and how that is found out. A new one is a line here. */
const EXPECTATIONS: readonly { readonly pattern: RegExp; readonly form: string; readonly check: Check }[] = [
  {
    pattern: /^health (ok|degraded|failed)$/,
    form: "health ok|degraded|failed",
    check: ({ status }, health) => is(status.health, health, status.reasons.join("; ")),
  },
  {
    pattern: /^pool (\S+) (ok|degraded|failed)$/,
    form: "pool NAME ok|degraded|failed",
    check: ({ status }, name, health) => is(status.pools.find((pool) => pool.name === name)?.health, health),
  },
  {
    pattern: /^sds (\S+) (up|stopped|decoupled|failed|gone)$/,
    form: "sds NAME up|stopped|decoupled|failed|gone",
    check: ({ status }, name, state) => is(status.sds.find((sds) => sds.name === name)?.state ?? "gone", state),
  },
  {
    pattern: /^volume (\S+) (ok|degraded|failed|gone)$/,
    form: "volume NAME ok|degraded|failed|gone",
    check: ({ status }, name, health) =>
      is(status.volumes.find((volume) => volume.name === name)?.health ?? "gone", health),
  },
  {
    pattern: /^agent (\S+) (up|stopped|failed|unreachable)$/,
    form: "agent NAME up|stopped|failed|unreachable",
    check: ({ agents }, name, state) => {
      const agent = agents.find((one) => one.name === name);
      return is(agent && WORDS[agent.state], state);
    },
  },
  {
    pattern: /^app (\S+) (running|waiting|gone)(?: on (\S+))?$/,
    form: "app ID running|waiting|gone, app ID running on AGENT",
    check: ({ apps }, id, state, host) => {
      const app = apps.find((one) => one.id === id);
      if (app === undefined) return is("gone", state);
      const found = app.running >= app.wanted && app.running > 0 ? "running" : "waiting";
      const where = `${found} on ${app.hosts.join(", ") || "no agent"}`;
      return is(where, host === undefined && found === state ? where : `${state} on ${host}`, app.waiting.join("; "));
    },
  },
  {
    pattern: /^event ([A-Z_]+)$/,
    form: "event NAME (since the scenario began)",
    check: ({ events }, name) => ({
      met: events.some((event) => event.name === name),
      seen: `events were ${events.map((event) => event.name).join(", ") || "none"}`,
    }),
  },
  {
    pattern: /^(no )?alert ([A-Z_]+)$/,
    form: "alert NAME, no alert NAME",
    check: ({ status }, no, type) => ({
      met: status.alerts.some((alert) => alert.type === type) === (no === undefined),
      seen: `alerts are ${status.alerts.map((alert) => alert.type).join(", ") || "none"}`,
    }),
  },
];

const is = (found: string | undefined, wanted: string | undefined, why = "") => ({
  met: found === wanted,
  seen: `it is ${found ?? "unknown"}${why === "" ? "" : ` (${why})`}`,
});

/** Says what is wrong with the words of an expectation; "" when nothing is. */
export function checkExpectation(text: string): string {
  if (EXPECTATIONS.some(({ pattern }) => pattern.test(text))) return "";
  return `"${text}" cannot be expected; what can: ${EXPECTATIONS.map(({ form }) => form).join("; ")}`;
}

/** Whether the facts are as expected, and what they are otherwise. */
export function evaluate(text: string, facts: Facts): { readonly met: boolean; readonly seen: string } {
  for (const { pattern, check } of EXPECTATIONS) {
    const match = pattern.exec(text);
    if (match !== null) return check(facts, ...match.slice(1));
  }
  return { met: false, seen: checkExpectation(text) };
}
