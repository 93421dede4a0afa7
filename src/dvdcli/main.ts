import fs from "node:fs";
import { Crash, perform } from "./commands.ts";
import type { PluginDirs } from "./discovery.ts";
import { FlagError, type Flags, parseFlags, splitCommand } from "./flags.ts";
import { Log } from "./log.ts";
import { Plugin } from "./plugin.ts";
import { COMMANDS, commandHelp, commandUsage, rootHelp, rootUsage, unknownCommand } from "./usage.ts";

export interface Environment {
  readonly dirs: PluginDirs;
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** stdout is a terminal. */
  readonly terminal: boolean;
  readonly pause: (seconds: number) => Promise<void>;
  /** Version stamps, empty when not stamped. */
  readonly version: {
    readonly semver: string;
    readonly commit: string;
    readonly branch: string;
    readonly formed: string;
  };
  /** Path of this executable, links resolved. */
  readonly binary: string;
}

/** Runs one command line and answers the exit status (spec/dvdcli.md 2.2). */
export async function main(args: readonly string[], around: Environment): Promise<number> {
  const { out, err } = around;
  const { command, rest } = splitCommand(args);
  if (command === undefined) return root(args, around);
  if (command === "help") return help(rest, around);
  if (!Object.hasOwn(COMMANDS, command)) {
    err(unknownCommand(command));
    return 0;
  }
  let flags: Flags;
  try {
    ({ flags } = parseFlags(rest, COMMANDS[command]?.flags ?? []));
  } catch (error) {
    if (!(error instanceof FlagError)) throw error;
    // The original drops this error on its way out: status 0.
    err(`${commandUsage(command)}\nError: ${error.message}\n`);
    return 0;
  }
  if (flags.help) {
    err(commandHelp(command));
    return 0;
  }
  if (command !== "version") return withPlugin(command, flags, around);
  const { semver, branch, commit, formed } = around.version;
  out(
    `Binary: ${around.binary}\nSemVer: ${semver}\nOsArch: Linux-x86_64\nBranch: ${branch}\nCommit: ${commit}\nFormed: ${formed}\n`,
  );
  return 0;
}

function root(args: readonly string[], { out, err }: Environment): number {
  try {
    if (parseFlags(args, []).flags.help) out(rootHelp());
    else err(rootUsage(args.every((arg) => ["", "-", "--"].includes(arg))));
  } catch (error) {
    if (!(error instanceof FlagError)) throw error;
    err(`${rootUsage(false)}\nError: ${error.message}\n`);
  }
  return 0;
}

function help(rest: readonly string[], { out, err }: Environment): number {
  const [topic] = rest.filter((word) => !word.startsWith("-"));
  if (topic === undefined) out(rootHelp());
  else if (Object.hasOwn(COMMANDS, topic) || topic === "help") err(commandHelp(topic));
  else err(`Unknown help topic [\`${topic}\`].${rootUsage(false)}`);
  return 0;
}

async function withPlugin(
  command: string,
  flags: Flags,
  { dirs, out, err, terminal, pause }: Environment,
): Promise<number> {
  const log = new Log(err, terminal);
  const driver = flags.volumedriver;
  if (driver === "") {
    log.line("info", "Missing volume driver name", ["volumeDriver", ""]);
    return 1;
  }
  let plugin: Plugin;
  try {
    plugin = await Plugin.find(driver, { dirs, log, pause });
  } catch (error) {
    log.line("info", `Error looking up volume plugin ${driver}: ${(error as Error).message}`, ["volumeDriver", driver]);
    return 1;
  }
  try {
    return await perform(command, { plugin, flags, log, out });
  } catch (error) {
    if (!(error instanceof Crash)) throw error;
    err(`dvdcli: ${error.message}\n`);
    return 2;
  } finally {
    plugin.close();
  }
}

/** Writes all of a text, also to a pipe that is full for a moment. */
export function writeAll(fd: number, text: string): void {
  const bytes = Buffer.from(text);
  for (let done = 0; done < bytes.length; ) {
    try {
      done += fs.writeSync(fd, bytes, done);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EPIPE") return;
      if (code !== "EAGAIN") throw error;
    }
  }
}
