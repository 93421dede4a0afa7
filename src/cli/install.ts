import path from "node:path";
import { Argument, type Command, InvalidArgumentError } from "commander";
import { type AskedFlags, type Commands, withJson, withRunDir } from "./commands/flags.ts";
import type { Completion } from "./completion.ts";

/** Where this program lies, built or not. */
const PACKAGE = path.resolve(import.meta.dirname, "../..");

/** Registers what puts this program on a machine: `install`, `uninstall` and `completion`. */
export function installCommands({ program, context, done, asked }: Commands): void {
  withRoot(program.command("install"))
    .description("install the programs, systemd units and completions; replaces an older installation")
    .option("--prefix <dir>", "where programs go", prefix, "/usr/local")
    .action(async ({ prefix, root, json }: RootFlags & { prefix: string }) => {
      const { completionScript } = await import("./completion.ts");
      const completion = (which: Completion) => completionScript(program, which);
      const options = { from: PACKAGE, prefix, root, completion, json: json === true };
      done(await (await import("./install/install.ts")).install(context, options));
    });

  withRoot(program.command("uninstall"))
    .description("take away what `install` has installed; volumes and their data stay")
    .option("--purge", "remove /var/lib/rexray-sim with all volumes, too")
    .action(async ({ root, purge, json }: RootFlags & { purge?: boolean }) => {
      const options = { root, purge: purge === true, json: json === true };
      done(await (await import("./install/uninstall.ts")).uninstall(context, options));
    });

  program
    .command("completion")
    .description("print a script that completes command lines in a shell")
    .addArgument(new Argument("<shell>").choices(["bash", "zsh"] satisfies Completion["shell"][]))
    .addArgument(new Argument("[program]").choices(["rexray-sim", "dvdcli"]).default("rexray-sim"))
    .action(async (shell: Completion["shell"], of: Completion["program"]) => {
      context.out((await import("./completion.ts")).completionScript(program, { shell, program: of }));
      done(0);
    });

  withRunDir(program.command("complete <argument>", { hidden: true }))
    .description("what an argument may be, for completions")
    .action(async (argument: string, flags: AskedFlags) => {
      done(await (await import("./complete.ts")).complete(context, { ...asked(flags), argument }));
    });
}

interface RootFlags {
  readonly root: string;
  readonly json?: boolean;
}

const withRoot = (command: Command): Command =>
  withJson(command).option(
    "--root <dir>",
    "a directory that stands for /, as DESTDIR",
    (dir) => path.resolve(dir),
    "/",
  );

/** It goes into systemd units and `#!` lines as it is. */
function prefix(value: string): string {
  if (/^\/[\w.+/-]*$/.test(value)) return path.resolve(value);
  throw new InvalidArgumentError("An absolute path of letters, digits and . _ + - is needed.");
}
