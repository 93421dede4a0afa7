import fs from "node:fs";
import path from "node:path";
import type { Dirs } from "../lib/dirs.ts";
import { SimError } from "../lib/errors.ts";

/**
 * Life as a Docker managed plugin (docker-volume-plugin.md 13): what differs from a daemon on the machine itself. The
 * container and all its processes end with the daemon, so the daemon ends as if the machine were switched off; and the
 * commands have to be reached from outside the container.
 */

/** What a REX-Ray plugin's settings are called in REX-Ray's configuration (spec/rexray.md 11). */
const NAMES: Readonly<Record<string, string>> = {
  REXRAY_FSTYPE: "LIBSTORAGE_INTEGRATION_VOLUME_OPERATIONS_CREATE_DEFAULT_FSTYPE",
  REXRAY_PREEMPT: "LIBSTORAGE_INTEGRATION_VOLUME_OPERATIONS_MOUNT_PREEMPT",
  LINUX_VOLUME_ROOTPATH: "LIBSTORAGE_INTEGRATION_VOLUME_OPERATIONS_MOUNT_ROOTPATH",
};

/** Gives the settings the names that the configuration knows; those that were left empty are not there. */
export function renameSettings(env: NodeJS.ProcessEnv): void {
  for (const [name, value] of Object.entries(env)) {
    const known = NAMES[name];
    if (value === "") delete env[name];
    else if (known !== undefined && !env[known]) env[known] = value;
  }
}

/** The directory of mounts that Docker shares with the machine: `propagatedMount` in config.json. */
const PROPAGATED = "/var/lib/rexray";

/**
 * Docker's upgrade forgets the settings, the directory of the data among them; a plugin that began anew in the default one would
 * hand out empty volumes under the names of full ones. So the directory is remembered beside the mount points, which outlive an
 * upgrade. Throws invalid_argument when it is another one now.
 */
export function checkSource(stateDir: string): void {
  const source = hostPathOf(path.dirname(stateDir));
  const file = path.join(PROPAGATED, "data-source");
  if (source === undefined) return;
  const before = fs.existsSync(file) ? fs.readFileSync(file, "utf8").trim() : source;
  if (before !== source)
    throw new SimError(
      "invalid_argument",
      `the data of this plugin are in ${before}, and data.source is ${source} now: \`docker plugin set PLUGIN data.source=${before}\`, or remove ${hostPathOf(PROPAGATED) ?? PROPAGATED}/data-source to begin anew`,
    );
  fs.writeFileSync(file, `${source}\n`, { mode: 0o600 });
}

/** Where the plugin's mount points are for the machine, if that can be seen from here. */
function hostPathOf(
  directory: string,
  own: string = fs.readFileSync("/proc/self/mountinfo", "utf8"),
  machine: string = fs.readFileSync("/proc/1/mountinfo", "utf8"),
): string | undefined {
  const here = fieldsOf(own).findLast(({ point }) => point === directory);
  if (here === undefined) return undefined;
  const isPart = (root: string) => here.root === root || here.root.startsWith(root === "/" ? root : `${root}/`);
  const there = fieldsOf(machine).findLast(({ device, root }) => device === here.device && isPart(root));
  return there === undefined ? undefined : path.join(there.point, path.relative(there.root, here.root));
}

const fieldsOf = (mountinfo: string) =>
  mountinfo.split("\n").flatMap((line) => {
    const [, , device, root, point] = line.split(" ");
    return device === undefined || root === undefined || point === undefined ? [] : [{ device, root, point }];
  });

/**
 * Commands for the machine, in the state directory's `bin`: they enter the plugin's mount namespace, where the programs, their
 * Node and the sockets are, so that the machine needs nothing of it. Mount points are printed as the machine has them.
 */
export function writeWrappers({ stateDir, runDir, pluginDir }: Dirs): void {
  const node = process.execPath;
  const binDir = path.dirname(fs.realpathSync(process.argv[1] ?? ""));
  const outside = hostPathOf(PROPAGATED) ?? PROPAGATED;
  const dir = path.join(stateDir, "bin");
  fs.mkdirSync(dir, { recursive: true, mode: 0o755 });
  const enter = [
    "#!/bin/sh",
    "# Made by the plugin at every start.",
    `pid=$(sed -n 's/.*"pid": *\\([0-9]*\\).*/\\1/p' "$(dirname "$(readlink -f "$0")")/../${path.relative(stateDir, runDir)}/daemon.json" 2>/dev/null)`,
    `[ -n "$pid" ] && [ -d "/proc/$pid" ] || { echo "the plugin does not run: enable it (docker plugin enable)" >&2; exit 3; }`,
    "run() {",
    `  nsenter --target "$pid" --mount env --unset=NODE_EXTRA_CA_CERTS --unset=NODE_OPTIONS REXRAY_SIM_RUN_DIR=${runDir} REXRAY_SIM_STATE_DIR=${stateDir} REXRAY_SIM_PLUGIN_DIR=${pluginDir} ${node} "$@"`,
    "}",
  ];
  const scripts: Readonly<Record<string, readonly string[]>> = {
    "rexray-sim": [...enter, `run ${binDir}/rexray-sim.js "$@"`],
    dvdcli: [
      ...enter,
      `text=$(run ${binDir}/dvdcli.js "$@")`,
      "status=$?",
      `case $text in ${PROPAGATED}/*) text="${outside}\${text#${PROPAGATED}}" ;; esac`,
      `[ -z "$text" ] || printf '%s\\n' "$text"`,
      "exit $status",
    ],
  };
  for (const [name, lines] of Object.entries(scripts)) {
    const file = path.join(dir, name);
    fs.writeFileSync(`${file}.new`, `${lines.join("\n")}\n`, { mode: 0o755 });
    fs.renameSync(`${file}.new`, file);
  }
}
