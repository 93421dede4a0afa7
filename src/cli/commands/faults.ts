import { Argument } from "commander";
import { AGENT_FAULTS } from "../../mesos/faults/types.ts";
import { DEVICE_FAULTS, SYSTEM_FAULTS } from "../../scaleio/faults/types.ts";
import type { FaultFlags } from "../fault.ts";
import { type AskedFlags, type Commands, withAsked } from "./flags.ts";

const TYPES = [DEVICE_FAULTS, SYSTEM_FAULTS, AGENT_FAULTS].flatMap((kinds) => Object.keys(kinds)).toSorted();

/** Faults, what comes of them, and scripts of both. */
export function faultCommands({ program, context, done, asked, runCli }: Commands): void {
  withAsked(program.command("events"))
    .description("show what has happened in the cluster (times are UTC)")
    .option("-f, --follow", "go on showing what happens")
    .action(async (flags: AskedFlags & { follow?: boolean }) => {
      done(await (await import("../events.ts")).events(context, { ...asked(flags), follow: flags.follow === true }));
    });

  const faults = () => import("../fault.ts");
  const fault = program.command("fault").description("put faults on the running system and take them away");
  withAsked(fault.command("add"))
    .description(
      "put a fault on a node (sds-1), a device (sds-1/dev-1), an MDM member (mdm-1), an agent, …; prints its name",
    )
    .addArgument(new Argument("<type>", "what is wrong, see `fault types`").choices(TYPES))
    .argument("<target>", "what it is on")
    .argument("[key=value...]", "its attributes")
    .option("--name <name>", "what to call it (default: its type and a number)")
    .option("--probability <p>", "how often an operation meets it, above 0 to 1 (default: 1)")
    .action(async (type: string, target: string, pairs: string[], flags: AskedFlags & FaultFlags) => {
      done(await (await faults()).faultAdd(context, { ...asked(flags), type, target, pairs, flags }));
    });
  withAsked(fault.command("ls"))
    .description("list the faults there are")
    .action(async (flags: AskedFlags) => done(await (await faults()).faultLs(context, asked(flags))));
  withAsked(fault.command("types"))
    .description("list what faults can be put where")
    .action(async (flags: AskedFlags) => done(await (await faults()).faultTypes(context, asked(flags))));
  withAsked(fault.command("rm <fault>"))
    .description("take a fault away; a device that failed by it is well again")
    .action(async (name: string, flags: AskedFlags) => {
      done(await (await faults()).faultRm(context, { ...asked(flags), name }));
    });
  withAsked(fault.command("reset"))
    .description("take all faults away")
    .action(async (flags: AskedFlags) => done(await (await faults()).faultReset(context, asked(flags))));

  const scenario = program.command("scenario").description("run scripts of faults and expectations");
  withAsked(scenario.command("run <file>"))
    .description("carry out the steps of a file (see examples/); fails when one does not come out as expected")
    .action(async (file: string, flags: AskedFlags) => {
      const options = { ...asked(flags), file, runCli };
      done(await (await import("../scenario/scenario-run.ts")).scenarioRun(context, options));
    });
}
