import fs from "node:fs";
import path from "node:path";
import type { Dirs } from "../lib/dirs.ts";
import { type MachinePaths, machinePathsEnv } from "../lib/machine-paths.ts";
import { processId } from "../lib/process-id.ts";

const PROGRAMS = ["rexray-sim", "dvdcli"];

/**
 * Commands for the machine, in the state directory's `bin`: they enter the mount namespace of the plugin, where the programs,
 * their Node and the sockets are, so that the machine needs nothing of it. What they print has the machine's paths.
 */
export function writeWrappers({ stateDir, runDir, pluginDir }: Dirs, paths: MachinePaths): void {
  const dir = path.join(stateDir, "bin");
  fs.mkdirSync(dir, { recursive: true, mode: 0o755 });
  for (const program of PROGRAMS) {
    const file = path.join(dir, program);
    const settings = {
      REXRAY_SIM_STATE_DIR: stateDir,
      REXRAY_SIM_RUN_DIR: runDir,
      REXRAY_SIM_PLUGIN_DIR: pluginDir,
      ...machinePathsEnv(paths),
    };
    fs.writeFileSync(`${file}.new`, wrapper(program, settings), { mode: 0o755 });
    fs.renameSync(`${file}.new`, file);
  }
}

/**
 * A process number alone says nothing after a kill or a power loss: the process may be anybody's by now, a container's too, and
 * root would run what that one has for Node. So it must have started at the same tick of the same boot; and the namespace is
 * opened before that is looked at, and entered after it.
 */
function wrapper(program: string, settings: Readonly<Record<string, string>>): string {
  const self = processId(process.pid);
  const script = path.join(path.dirname(fs.realpathSync(process.argv[1] ?? "")), `${program}.js`);
  const boot = fs.readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  const env = ["--unset=NODE_EXTRA_CA_CERTS", "--unset=NODE_OPTIONS"];
  for (const [name, value] of Object.entries(settings)) env.push(quoted(`${name}=${value}`));
  return `#!/bin/sh
# Made by the plugin at every start.
plugin_runs() {
  [ "$(cat /proc/sys/kernel/random/boot_id)" = ${boot} ] && stat=$(cat /proc/${process.pid}/stat) || return 1
  # The command may hold anything, parentheses and spaces too; the twentieth word after it is the time of the start.
  set -- \${stat##*) }
  [ "\${20}" = ${self?.startTicks} ]
}
{ command exec 3</proc/${process.pid}/ns/mnt && plugin_runs; } 2>/dev/null || {
  echo "${program}: the plugin does not run, or has no access to its data: docker plugin enable; docker volume inspect" >&2
  exit 3
}
exec nsenter --mount=/proc/self/fd/3 env ${env.join(" ")} ${quoted(process.execPath)} ${quoted(script)} "$@"
`;
}

/** One word for a shell. */
const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
