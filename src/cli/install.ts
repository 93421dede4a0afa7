import path from "node:path";
import { Argument, type Command, InvalidArgumentError } from "commander";
import type { Commands } from "./commands/flags.ts";
import type { Shell } from "./completion.ts";

/** Where this program lies, built or not. */
const PACKAGE = path.resolve(import.meta.dirname, "../..");

/** Registers what puts this program on a machine: `install`, `uninstall` and `completion`. */
export function installCommands({ program, context, done }: Commands): void {
  withRoot(program.command("install"))
    .description("install the programs, systemd units and completions; replaces an older installation")
    .option("--prefix <dir>", "where programs go", prefix, "/usr/local")
    .action(async ({ prefix, root }: { prefix: string; root: string }) => {
      const { completionScript, SHELLS } = await import("./completion.ts");
      const scripts = new Map(SHELLS.map((shell) => [shell, completionScript(program, shell)]));
      const options = { from: PACKAGE, prefix, root, scripts };
      done(await (await import("./install/install.ts")).install(context, options));
    });

  withRoot(program.command("uninstall"))
    .description("take away what `install` has installed; volumes and their data stay")
    .option("--purge", "remove /var/lib/rexray-sim with all volumes, too")
    .action(async ({ root, purge }: { root: string; purge?: boolean }) => {
      done(await (await import("./install/uninstall.ts")).uninstall(context, { root, purge: purge === true }));
    });

  program
    .command("completion")
    .description("print a script that completes command lines in a shell")
    .addArgument(new Argument("<shell>").choices(["bash", "zsh"] satisfies Shell[]))
    .action(async (shell: Shell) => {
      context.out((await import("./completion.ts")).completionScript(program, shell));
      done(0);
    });
}

const withRoot = (command: Command): Command =>
  command.option("--root <dir>", "a directory that stands for /, as DESTDIR", (dir) => path.resolve(dir), "/");

/** It goes into systemd units and `#!` lines as it is. */
function prefix(value: string): string {
  if (/^\/[\w.+/-]*$/.test(value)) return path.resolve(value);
  throw new InvalidArgumentError("An absolute path of letters, digits and . _ + - is needed.");
}
