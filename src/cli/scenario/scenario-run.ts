import { spawn } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";
import { AdminClient } from "../../admin/client.ts";
import { type Asked, show } from "../answer.ts";
import { type Context, EXIT } from "../context.ts";
import { evaluate } from "./expectations.ts";
import { readScenario, type Scenario, type Step } from "./scenario-file.ts";

const POLL = 200;

/** What is there to carry a step out with. */
interface Stage {
  readonly context: Context;
  readonly client: AdminClient;
  /** Events up to this one are not the scenario's. */
  readonly firstEvent: number;
  /** Runs one rexray-sim command line on the instance, in this process; answers its exit status. */
  readonly run: (args: readonly string[]) => Promise<number>;
}

/** What came of a step. */
interface StepResult {
  readonly text: string;
  readonly ok: boolean;
  /** Since the scenario's start, when the step had ended. */
  readonly seconds: number;
  /** Why it is not as expected; "" when it is. */
  readonly problem: string;
}

/**
 * `rexray-sim scenario run FILE`: step after step, each said with its time. Ends with a failure at the first step that does
 * not come out as it should; the faults that are on the system then are taken away in any case. For programs: one result for
 * each step that was begun, and what the steps print goes to standard error.
 */
export async function scenarioRun(
  context: Context,
  options: Asked & { file: string; runCli: (args: readonly string[], context: Context) => Promise<number> },
): Promise<number> {
  const { json, runDir } = options;
  const scenario = readScenario(options.file);
  const client = new AdminClient(runDir);
  const firstEvent = (await client.events(0, 0)).at(-1)?.id ?? 0;
  const inner = json ? { ...context, out: context.err } : context;
  const run = (args: readonly string[]) => options.runCli([...args, "--run-dir", runDir], inner);
  const steps = await carryOutAll(scenario, { context: inner, client, firstEvent, run });
  const failed = steps.find(({ ok }) => !ok);
  const left = await takeFaultsAway(inner, client);
  const ok = failed === undefined && left === "";
  const planned = scenario.steps.length;
  if (json) show(context, options, { name: scenario.name, ok, planned, steps }, "");
  if (failed !== undefined) context.err(`scenario ${scenario.name}: step ${steps.length} of ${planned} failed\n`);
  if (left !== "") context.err(`scenario ${scenario.name}: its faults could not be taken away: ${left}\n`);
  return ok ? EXIT.ok : EXIT.failed;
}

/** Up to the first failure. */
async function carryOutAll({ steps }: Scenario, stage: Stage): Promise<StepResult[]> {
  const began = performance.now();
  const results: StepResult[] = [];
  for (const step of steps) {
    const early = step.at - (performance.now() - began);
    if (early > 0) await pause(early);
    const problem = await carryOut(step, stage).catch((error: Error) => error.message);
    const seconds = Math.round(performance.now() - began) / 1000;
    const ok = problem === "";
    results.push({ text: step.text, ok, seconds, problem });
    const clock = `${seconds.toFixed(1).padStart(6)} s`;
    stage.context.out(`${clock}  ${ok ? "ok  " : "FAIL"}  ${step.text}${ok ? "" : `: ${problem}`}\n`);
    if (!ok) break;
  }
  return results;
}

/** Answers why they stay; "" when there are none any more. A daemon that has died must not hide what has come of the steps. */
async function takeFaultsAway(context: Context, client: AdminClient): Promise<string> {
  try {
    if ((await client.faults()).faults.length === 0) return "";
    await client.resetFaults();
    context.out("faults taken away\n");
    return "";
  } catch (error) {
    return (error as Error).message;
  }
}

/** Answers what went wrong; "" when nothing did. */
async function carryOut({ action }: Step, { context, client, firstEvent, run }: Stage): Promise<string> {
  if (action.kind === "do") {
    const status = await run(action.args);
    return status === EXIT.ok ? "" : `it ended with status ${status}`;
  }
  if (action.kind === "run") return runProgram(context, action.argv);
  const end = performance.now() + action.withinMs;
  for (;;) {
    const [status, events, agents, apps] = await Promise.all([
      client.status(),
      client.events(firstEvent, 0),
      client.agents(),
      client.apps(),
    ]);
    const facts = { status, events, agents, apps };
    const { met, seen } = evaluate(action.expectation, facts);
    if (met) return "";
    if (performance.now() > end) return `not within ${action.withinMs / 1000} s: ${seen}`;
    await pause(POLL);
  }
}

/** Without a shell; what it prints is shown. */
function runProgram(context: Context, [program = "", ...args]: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    child.stdout.setEncoding("utf8").on("data", (part: string) => context.out(part));
    child.stderr.setEncoding("utf8").on("data", (part: string) => context.err(part));
    child.once("error", (error) => resolve(error.message));
    child.once("close", (code, signal) => resolve(code === 0 ? "" : `it ended with ${signal ?? `status ${code}`}`));
  });
}
