import type { StatusReport } from "../admin/report.ts";
import type { Dirs } from "../lib/dirs.ts";
import { asSimError } from "../lib/errors.ts";
import { machinePathsEnv } from "../lib/machine-paths.ts";
import { show } from "./answer.ts";
import { type Context, EXIT, type RunningDaemon } from "./context.ts";
import { vitalChecks } from "./doctor-machine.ts";
import { warningsOf } from "./finding.ts";
import { checkData, machinePaths, namesDirs, rememberData, renameSettings } from "./managed.ts";
import { remainingText } from "./remaining.ts";
import { upScreen } from "./up-screen.ts";
import { writeWrappers } from "./wrappers.ts";

/** What a daemon in the background tells the command that started it, over their channel. */
export type UpMessage =
  | { readonly ready: StatusReport; readonly warnings: readonly string[] }
  | { readonly error: { readonly code: string; readonly message: string } };

export interface UpOptions {
  readonly dirs: Dirs;
  readonly pluginNames: readonly string[] | undefined;
  readonly json: boolean;
}

/**
 * `rexray-sim up`: the daemon in this process, until a signal or `down` ends it. SIGINT is a full stop; SIGTERM and SIGHUP
 * end the daemon only, and mounted volumes stay served.
 */
export async function up(context: Context, options: UpOptions & { managed: boolean }): Promise<number> {
  // There is a channel when `up --detach` started us.
  const tell = process.connected ? (message: UpMessage) => process.send?.(message) : undefined;
  // In the background nobody expects that the directory we were started in stays in use.
  if (tell !== undefined) process.chdir("/");
  const signal = firstSignal(context);
  const managed = options.managed === true;
  const dirs = managed ? { ...options.dirs, namesDirs: namesDirs(options.dirs.stateDir) } : options.dirs;
  const early = managed ? await context.daemon.listen(dirs) : undefined;
  let daemon: RunningDaemon | undefined;
  try {
    const remember = managed ? prepareManaged(context, dirs) : undefined;
    const machine = warningsOf(vitalChecks());
    daemon = await (early ?? context.daemon).start({ ...options, dirs });
    const warnings = [...machine, ...daemon.warnings];
    await remember?.();
    const report = await daemon.report();
    if (tell === undefined) {
      ready(context, { ...options, dirs }, { report, warnings, log: null, stop: "stop with Ctrl-C" });
    } else {
      tell({ ready: report, warnings });
      process.disconnect();
    }
    const cause = await Promise.race([signal, daemon.ended]);
    if (cause !== undefined) {
      // Whatever serves the volumes ends with the container that we are in.
      const { remaining } = await daemon.stop({ unmount: managed || cause === "SIGINT", force: managed });
      context.err(remainingText(remaining));
    }
    await daemon.ended;
    return EXIT.ok;
  } catch (error) {
    const { code, message } = asSimError(error);
    if (early !== undefined) {
      context.err(`${message}\n`);
      await daemon?.stop({ unmount: true, force: true });
      await daemon?.ended;
      await early.refuse(error);
      await signal;
      return EXIT.failed;
    }
    tell?.({ error: { code, message } });
    throw error;
  }
}

/** What a managed plugin needs before its daemon starts. Answers what it has to write down when the daemon runs. */
function prepareManaged({ env }: Context, dirs: Dirs): () => Promise<void> {
  renameSettings(env);
  const paths = machinePaths(dirs);
  Object.assign(env, machinePathsEnv(paths));
  checkData(dirs.stateDir, paths);
  return async () => {
    await rememberData(dirs.stateDir, paths);
    writeWrappers(dirs, paths);
  };
}

/**
 * Says that everything is served: the screen of {@link upScreen}, or the status with the warnings and the file that takes the log.
 *
 * @param said.stop how to end it, for a person
 */
export function ready(
  context: Context,
  options: UpOptions,
  said: { report: StatusReport; warnings: readonly string[]; log: string | null; stop: string },
): void {
  const { report, warnings, log, stop } = said;
  for (const warning of warnings) context.err(`warning: ${warning}\n`);
  show(context, options, { ...report, warnings, log }, upScreen(report, options.dirs.pluginDir, stop));
}

/** The first signal that asks for a stop. A second Ctrl-C does not wait for the stop that the first began. */
function firstSignal(context: Context): Promise<"SIGINT" | "SIGTERM" | "SIGHUP"> {
  return new Promise((resolve) => {
    process.once("SIGINT", () => {
      context.err("stopping; Ctrl-C again to leave at once\n");
      resolve("SIGINT");
      process.once("SIGINT", () => {
        context.err("left at once: `rexray-sim down` cleans up\n");
        process.exit(130);
      });
    });
    for (const name of ["SIGTERM", "SIGHUP"] as const) process.on(name, () => resolve(name));
  });
}
