import { Argument } from "commander";
import { AGENT_FAULTS } from "../../mesos/faults/types.ts";
import { DEVICE_FAULTS, SYSTEM_FAULTS } from "../../scaleio/faults/types.ts";
import type { FaultFlags } from "../fault.ts";
import { type Commands, type JsonFlag, type RunDirFlag, withJson, withRunDir } from "./flags.ts";

const TYPES = [DEVICE_FAULTS, SYSTEM_FAULTS, AGENT_FAULTS].flatMap((kinds) => Object.keys(kinds)).toSorted();

/** Faults, what comes of them, and scripts of both. */
export function faultCommands({ program, context, done, runDirOf, runCli }: Commands): void {
  withJson(program.command("events"))
    .description("show what has happened in the cluster (times are UTC)")
    .option("-f, --follow", "go on showing what happens")
    .action(async (flags: JsonFlag & { follow?: boolean }) => {
      const options = { runDir: runDirOf(flags), json: flags.json === true, follow: flags.follow === true };
      done(await (await import("../events.ts")).events(context, options));
    });

  const fault = program.command("fault").description("put faults on the running system and take them away");
  withRunDir(fault.command("add"))
    .description(
      "put a fault on a node (sds-1), a device (sds-1/dev-1), an MDM member (mdm-1), an agent, …; prints its name",
    )
    .addArgument(new Argument("<type>", "what is wrong, see `fault types`").choices(TYPES))
    .argument("<target>", "what it is on")
    .argument("[key=value...]", "its attributes")
    .option("--name <name>", "what to call it (default: its type and a number)")
    .option("--probability <p>", "how often an operation meets it, above 0 to 1 (default: 1)")
    .action(async (type: string, target: string, pairs: string[], flags: RunDirFlag & FaultFlags) => {
      const options = { runDir: runDirOf(flags), type, target, pairs, flags };
      done(await (await import("../fault.ts")).faultAdd(context, options));
    });
  for (const [name, help] of [
    ["ls", "list the faults there are"],
    ["types", "list what faults can be put where"],
  ] as const) {
    withJson(fault.command(name))
      .description(help)
      .action(async (flags: JsonFlag) => {
        const { faultLs, faultTypes } = await import("../fault.ts");
        const show = name === "ls" ? faultLs : faultTypes;
        done(await show(context, { runDir: runDirOf(flags), json: flags.json === true }));
      });
  }
  withRunDir(fault.command("rm <name>"))
    .description("take a fault away; a device that failed by it is well again")
    .action(async (name: string, flags: RunDirFlag) => {
      done(await (await import("../fault.ts")).faultRm(context, { runDir: runDirOf(flags), name }));
    });
  withRunDir(fault.command("reset"))
    .description("take all faults away")
    .action(async (flags: RunDirFlag) => {
      done(await (await import("../fault.ts")).faultReset(context, { runDir: runDirOf(flags) }));
    });

  const scenario = program.command("scenario").description("run scripts of faults and expectations");
  withRunDir(scenario.command("run <file>"))
    .description("carry out the steps of a file (see examples/); fails when one does not come out as expected")
    .action(async (file: string, flags: RunDirFlag) => {
      const runDir = runDirOf(flags);
      const run = (args: readonly string[]) => runCli([...args, "--run-dir", runDir]);
      done(await (await import("../scenario/scenario-run.ts")).scenarioRun(context, { runDir, file, run }));
    });
}
