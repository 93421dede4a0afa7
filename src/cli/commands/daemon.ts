import { InvalidArgumentError, Option } from "commander";
import { type DirFlags, resolveDirs } from "../../lib/dirs.ts";
import { type AskedFlags, type Commands, withAsked, withDirs } from "./flags.ts";

/** Starting, stopping, looking. */
export function daemonCommands({ program, context, done, asked }: Commands): void {
  withDirs(program.command("up"))
    .description("start the cluster and serve its volumes to Docker")
    .option(
      "--plugin-name <name>",
      "a volume driver name to serve; repeatable (default: rexray-sim and rexray)",
      collect,
    )
    .option("-d, --detach", "run in the background; return when ready")
    .addOption(new Option("--managed", "as a Docker managed plugin").hideHelp())
    .action(async (flags: DirFlags & AskedFlags & { pluginName?: string[]; detach?: boolean; managed?: boolean }) => {
      const dirs = resolveDirs(flags, context.env);
      const { json } = asked(flags);
      const options = { dirs, pluginNames: flags.pluginName, managed: flags.managed === true, json };
      if (flags.detach === true) done(await (await import("../up-detached.ts")).upDetached(context, options));
      else done(await (await import("../up.ts")).up(context, options));
    });

  withDirs(program.command("down"))
    .description("unmount what nobody holds and stop; also cleans up after a killed daemon")
    .option("-f, --force", "unmount also what is in use")
    .action(async (flags: DirFlags & AskedFlags & { force?: boolean }) => {
      const options = { flags, force: flags.force === true, json: asked(flags).json };
      done(await (await import("../down.ts")).down(context, options));
    });

  withAsked(program.command("status"))
    .description("show nodes, pool, volumes, mounts and health")
    .action(async (flags: AskedFlags) => done(await (await import("../status.ts")).status(context, asked(flags))));

  program
    .command("demo")
    .description("two minutes: a database on a volume, a node lost under it, and nothing else lost")
    .action(async () => done(await (await import("../demo/demo.ts")).demo(context)));

  withDirs(program.command("doctor"))
    .description("check this machine, with a fix for each failure")
    .action(async (flags: DirFlags & AskedFlags) => {
      const options = { dirs: resolveDirs(flags, context.env), json: asked(flags).json };
      done(await (await import("../doctor.ts")).doctor(context, options));
    });
}

/** The name becomes a socket's file name and Docker's driver name. */
function collect(value: string, before: string[] = []): string[] {
  if (!/^[a-zA-Z0-9][\w.-]{0,63}$/.test(value)) {
    throw new InvalidArgumentError("A driver name has 1 to 64 letters, digits, dots, dashes and underscores.");
  }
  return [...before, value];
}
