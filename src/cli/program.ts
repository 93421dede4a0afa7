import { Command, CommanderError } from "commander";
import { resolveDirs } from "../lib/dirs.ts";
import { SimError } from "../lib/errors.ts";
import { VERSION } from "../lib/version.ts";
import { agentCommands } from "./commands/agents.ts";
import { daemonCommands } from "./commands/daemon.ts";
import { faultCommands } from "./commands/faults.ts";
import type { AskedFlags, Commands } from "./commands/flags.ts";
import { nodeCommands } from "./commands/nodes.ts";
import { volumeCommands } from "./commands/volumes.ts";
import { type Context, EXIT } from "./context.ts";
import { addExamples } from "./examples.ts";
import { installCommands } from "./install.ts";

/** In the order of the help. A new group is a file and a word here. */
const GROUPS: readonly ((commands: Commands) => void)[] = [
  daemonCommands,
  volumeCommands,
  nodeCommands,
  agentCommands,
  faultCommands,
  installCommands,
];

const FOOTER = `
Every command finds its instance by --run-dir (or REXRAY_SIM_RUN_DIR).
Exit status: 0 success, 1 failure, 2 wrong usage, 3 no instance runs.
`;

/**
 * Runs one command line and answers its exit status. The commands are loaded when they are called: what `--version` does
 * not need, it does not wait for.
 *
 * @param args without the program's own name
 */
export async function runCli(args: readonly string[], context: Context): Promise<number> {
  let status: number = EXIT.ok;
  const program = build(context, (result) => (status = result));
  try {
    await program.parseAsync(args, { from: "user" });
    return status;
  } catch (error) {
    // Commander has printed what it had to say.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    return explain(error, context);
  }
}

async function explain(error: unknown, context: Context): Promise<number> {
  if (!(error instanceof SimError)) {
    context.err(`rexray-sim: internal error: ${error instanceof Error ? error.stack : String(error)}\n`);
    return EXIT.internal;
  }
  const { NoDaemonError } = await import("../admin/client.ts");
  context.err(`rexray-sim: ${error.message}\n`);
  if (error instanceof NoDaemonError) return EXIT.noDaemon;
  return error.code === "internal" ? EXIT.internal : EXIT.failed;
}

/** All that can be typed. `done` takes a command's exit status. */
export function build(context: Context, done: (status: number) => void): Command {
  const program = new Command("rexray-sim")
    .description("Persistent storage of DC/OS + REX-Ray + ScaleIO on one machine, for real")
    .version(VERSION, "-V, --version", "print the version")
    .helpOption("-h, --help", "print help")
    .configureOutput({ writeOut: context.out, writeErr: context.err })
    .showHelpAfterError("(--help shows what there is)")
    .exitOverride();
  const asked = (flags: AskedFlags) => ({ runDir: resolveDirs(flags, context.env).runDir, json: flags.json === true });
  for (const add of GROUPS) add({ program, context, done, asked, runCli });
  addExamples(program);
  program.addHelpText("after", FOOTER);
  return program;
}
