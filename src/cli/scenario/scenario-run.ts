import { spawn } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";
import { AdminClient } from "../../admin/client.ts";
import { type Context, EXIT } from "../context.ts";
import { evaluate } from "./expectations.ts";
import { readScenario, type Step } from "./scenario-file.ts";

const POLL = 200;

/** Runs one rexray-sim command line in this process; answers its exit status. */
export type RunCommand = (args: readonly string[]) => Promise<number>;

/**
 * `rexray-sim scenario run FILE`: step after step, each said with its time. Ends with a failure at the first step that does
 * not come out as it should; the faults that are on the system then are taken away in any case.
 */
export async function scenarioRun(
  context: Context,
  options: { runDir: string; file: string; run: RunCommand },
): Promise<number> {
  const scenario = readScenario(options.file);
  const client = new AdminClient(options.runDir);
  const firstEvent = (await client.events(0, 0)).at(-1)?.id ?? 0;
  const began = performance.now();
  const clock = () => `${((performance.now() - began) / 1000).toFixed(1).padStart(6)} s`;
  try {
    for (const [index, step] of scenario.steps.entries()) {
      const early = step.at - (performance.now() - began);
      if (early > 0) await pause(early);
      const problem = await carryOut(context, client, firstEvent, step, options.run);
      context.out(
        `${clock()}  ${problem === "" ? "ok  " : "FAIL"}  ${step.text}${problem === "" ? "" : `: ${problem}`}\n`,
      );
      if (problem === "") continue;
      context.err(`scenario ${scenario.name}: step ${index + 1} of ${scenario.steps.length} failed\n`);
      return EXIT.failed;
    }
    return EXIT.ok;
  } finally {
    if ((await client.faults()).faults.length > 0) {
      await client.resetFaults();
      context.out(`${clock()}        faults taken away\n`);
    }
  }
}

/** Answers what went wrong; "" when nothing did. */
async function carryOut(
  context: Context,
  client: AdminClient,
  firstEvent: number,
  { action }: Step,
  run: RunCommand,
): Promise<string> {
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
