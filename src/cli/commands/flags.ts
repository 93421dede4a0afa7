import type { Command } from "commander";
import type { Asked } from "../answer.ts";
import type { Context } from "../context.ts";

/** What a group of commands is added to. */
export interface Commands {
  readonly program: Command;
  readonly context: Context;
  /** Takes the exit status. */
  readonly done: (status: number) => void;
  readonly asked: (flags: AskedFlags) => Asked;
  /** Runs another command line, as scenarios do. */
  readonly runCli: (args: readonly string[], context: Context) => Promise<number>;
}

export interface AskedFlags {
  readonly runDir?: string;
  readonly json?: boolean;
}

/** For commands whose answer is nothing that JSON would make better. */
export const withRunDir = (command: Command): Command =>
  command.option("--run-dir <dir>", "run directory (REXRAY_SIM_RUN_DIR; default /run/rexray-sim)");

/** For commands that know no instance. */
export const withJson = (command: Command): Command => command.option("--json", "print JSON");

/** What a running instance is asked or ordered. */
export const withAsked = (command: Command): Command => withJson(withRunDir(command));

export const withDevice = (command: Command): Command =>
  withAsked(command)
    .option("--path <dir>", "the device's directory (default: one in the state directory)")
    .option("--size <size>", "its simulated capacity (default: as the first device)");

export const withDirs = (command: Command): Command =>
  withAsked(command)
    .option("--state-dir <dir>", "state directory (REXRAY_SIM_STATE_DIR; default /var/lib/rexray-sim)")
    .option("--plugin-dir <dir>", "where plugin sockets appear (REXRAY_SIM_PLUGIN_DIR; default /run/docker/plugins)")
    .option("--config <file>", "configuration (REXRAY_SIM_CONFIG; default config.yml in the state directory)");
