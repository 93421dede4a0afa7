import fs from "node:fs";
import { parse } from "yaml";
import { z } from "zod";
import { SimError } from "../../lib/errors.ts";
import { checkExpectation } from "./expectations.ts";

const WITHIN_DEFAULT = "10s";

const duration = z.union([z.string(), z.number()]).transform((value, context) => {
  const match = /^(\d{1,6}(?:\.\d+)?)(ms|s|m)?$/.exec(String(value));
  if (match !== null) return Number(match[1]) * ({ ms: 1, s: 1000, m: 60_000 }[match[2] ?? "s"] ?? 1000);
  context.addIssue({ code: "custom", message: 'must be a time, for instance "5s" or "500ms"' });
  return z.NEVER;
});

const step = z
  .strictObject({
    at: duration.optional(),
    do: z.union([z.string(), z.array(z.string()).min(1)]).optional(),
    run: z.array(z.string()).min(1).optional(),
    expect: z.string().optional(),
    within: duration.optional(),
  })
  .refine((found) => [found.do, found.run, found.expect].filter((part) => part !== undefined).length === 1, {
    message: "has to have one of do, run and expect",
  })
  .refine((found) => found.within === undefined || found.expect !== undefined, {
    message: "has a within without an expect",
  });

const scenario = z.strictObject({ name: z.string().optional(), steps: z.array(step).min(1) });

/** One step: `at` is when it begins at the earliest (ms after the scenario's start). */
export interface Step {
  readonly at: number;
  readonly text: string;
  readonly action:
    | { readonly kind: "do"; readonly args: readonly string[] }
    | { readonly kind: "run"; readonly argv: readonly string[] }
    | { readonly kind: "expect"; readonly expectation: string; readonly withinMs: number };
}

export interface Scenario {
  readonly name: string;
  readonly steps: readonly Step[];
}

/**
 * Reads a scenario: a list of steps, each with `do` (a rexray-sim command, as a line or a list of words), `run` (a program and its arguments) or `expect`
 * (what has to be true `within` a time), and `at`, when to begin. Throws invalid_argument, naming file, step and rule.
 */
export function readScenario(file: string): Scenario {
  const refuse = (why: string) => new SimError("invalid_argument", `scenario ${file}: ${why}`);
  let value: unknown;
  try {
    value = parse(fs.readFileSync(file, "utf8"));
  } catch (error) {
    throw refuse(error instanceof Error ? error.message : String(error));
  }
  const parsed = scenario.safeParse(value);
  if (!parsed.success) throw refuse(z.prettifyError(parsed.error));
  const steps = parsed.data.steps.map((found, index): Step => {
    const base = { at: found.at ?? 0 };
    if (found.do !== undefined) {
      const args = typeof found.do === "string" ? found.do.trim().split(/\s+/) : found.do;
      return { ...base, text: args.join(" "), action: { kind: "do", args } };
    }
    if (found.run !== undefined)
      return { ...base, text: found.run.join(" "), action: { kind: "run", argv: found.run } };
    const expectation = found.expect as string;
    const problem = checkExpectation(expectation);
    if (problem !== "") throw refuse(`step ${index + 1}: ${problem}`);
    const withinMs = found.within ?? duration.parse(WITHIN_DEFAULT);
    return { ...base, text: `expect ${expectation}`, action: { kind: "expect", expectation, withinMs } };
  });
  return { name: parsed.data.name ?? file, steps };
}
