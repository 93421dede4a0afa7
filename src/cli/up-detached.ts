import { spawn } from "node:child_process";
import fs from "node:fs";
import { type Dirs, runFiles } from "../lib/dirs.ts";
import { type ErrorCode, SimError } from "../lib/errors.ts";
import { openLogFile } from "../lib/log-file.ts";
import { type Context, EXIT } from "./context.ts";
import { vitalChecks } from "./doctor-machine.ts";
import { warningsOf } from "./finding.ts";
import { ready, type UpMessage, type UpOptions } from "./up.ts";

/** `rexray-sim up --detach`: runs `up` in the background, waits until it is ready and prints what it would have printed. */
export async function upDetached(context: Context, options: UpOptions): Promise<number> {
  // Before anything is made; what it warns of the process in the background says.
  warningsOf(vitalChecks());
  const { dirs } = options;
  const logFile = runFiles(dirs.runDir).log;
  const message = await started(dirs, options.pluginNames, logFile, context.env);
  if ("error" in message) throw new SimError(message.error.code as ErrorCode, message.error.message);
  const { ready: report, warnings } = message;
  const stop = `in the background as process ${report.daemon.pid}, log ${logFile}; stop with \`rexray-sim down\``;
  ready(context, options, { report, warnings, log: logFile, stop });
  return EXIT.ok;
}

/** Starts the background process, and lets go of it once it has said that it is ready or why it is not. */
function started(
  dirs: Dirs,
  pluginNames: readonly string[] | undefined,
  logFile: string,
  env: NodeJS.ProcessEnv,
): Promise<UpMessage> {
  fs.mkdirSync(dirs.runDir, { recursive: true, mode: 0o700 });
  const log = openLogFile(logFile);
  const flags = ["--state-dir", dirs.stateDir, "--run-dir", dirs.runDir, "--plugin-dir", dirs.pluginDir];
  if (dirs.configRequired) flags.push("--config", dirs.configFile);
  for (const name of pluginNames ?? []) flags.push("--plugin-name", name);
  const child = spawn(process.execPath, [...process.execArgv, process.argv[1] as string, "up", ...flags], {
    detached: true,
    stdio: ["ignore", log, log, "ipc"],
    env,
  });
  fs.closeSync(log);
  // Who stops waiting does not want the daemon either.
  const interrupt = () => child.kill("SIGINT");
  process.once("SIGINT", interrupt);
  return new Promise<UpMessage>((resolve, reject) => {
    child.once("message", (message) => resolve(message as UpMessage));
    child.once("error", reject);
    child.once("exit", (status, signal) => {
      reject(
        new SimError(
          "host_failed",
          `the daemon ended (${signal ?? `status ${status}`}) before it was ready: see ${logFile}`,
        ),
      );
    });
  }).finally(() => {
    process.off("SIGINT", interrupt);
    if (child.connected) child.disconnect();
    child.unref();
  });
}
