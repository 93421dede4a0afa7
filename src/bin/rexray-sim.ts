import { onMachine } from "../lib/machine-paths.ts";
import { screenText } from "../lib/printable.ts";

// Before anything uses the thread pool: a stuck disk below one SDS must not use up the threads of all others.
process.env["UV_THREADPOOL_SIZE"] ??= "64";

async function main(): Promise<number> {
  const { runCli } = await import("../cli/program.ts");
  return runCli(process.argv.slice(2), {
    env: process.env,
    // Names and messages on our screens may be anybody's.
    out: (text) => process.stdout.write(screenText(onMachine(text))),
    err: (text) => process.stderr.write(screenText(onMachine(text))),
    color: process.stdout.isTTY === true && !process.env["NO_COLOR"] && process.env["TERM"] !== "dumb",
    daemon: {
      start: async (options) => (await import("../daemon/run.ts")).startDaemon(options),
      listen: async (dirs) => (await import("../daemon/run.ts")).listenEarly(dirs),
      sweep: async (options) => (await import("../daemon/run.ts")).sweepDaemon(options),
    },
  });
}

// A reader that has gone (`rexray-sim status | head -1`, or the `tee` that the same Ctrl-C ended) is no reason to die.
process.stdout.on("error", () => {});
process.stderr.on("error", () => {});
void main().then((status) => process.exit(status));
