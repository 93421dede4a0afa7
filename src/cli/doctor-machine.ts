import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { type DeviceNode, deviceProblem } from "../host/device-node.ts";
import { PACKAGES, run } from "../host/exec.ts";
import { type Finding, failed, ok, warning } from "./finding.ts";
import { bytes } from "./text.ts";

const MIB = 1024 * 1024;

/** What the machine must have, whether or not anything runs. */
export async function machineChecks(stateDir: string, env: NodeJS.ProcessEnv): Promise<Finding[]> {
  return [...vitalChecks(), await mountRights(), ...(await tools(env["PATH"] ?? "")), ...(await stateSpace(stateDir))];
}

/** Those without which nothing can be mounted; in a moment, so that whoever is about to mount makes them first. */
export function vitalChecks(): Finding[] {
  return [root(), device("fuse", "/dev/fuse"), device("loop", "/dev/loop-control"), kernel(os.release())];
}

function root(): Finding {
  const user = process.getuid?.();
  return user === 0
    ? ok("root", "runs as root")
    : failed("root", `this runs as user ${user}`, "run it as root, for instance by sudo");
}

function device(name: string, file: DeviceNode): Finding {
  const problem = deviceProblem(file);
  return problem === undefined ? ok(name, `${file} opens`) : failed(name, problem.detail, problem.fix);
}

/** Tried, because neither being root nor a capability says whether a security module agrees. */
async function mountRights(): Promise<Finding> {
  const dir = await fs.mkdtemp(path.join(os.tmpdir(), "rexray-sim-doctor-"));
  try {
    await run("mount", ["-t", "tmpfs", "-o", "size=64k", "rexray-sim-doctor", dir]);
    await run("umount", [dir]);
    return ok("mount", "may mount and unmount");
  } catch (error) {
    return failed(
      "mount",
      `may not mount: ${(error as Error).message.split("\n")[0]}`,
      "run as root with CAP_SYS_ADMIN; in a container: --privileged",
    );
  } finally {
    await fs.rmdir(dir).catch(() => {});
  }
}

/** @param release as uname -r says it */
export function kernel(release: string): Finding {
  const [major = 0, minor = 0] = release.split(".").map((part) => Number.parseInt(part, 10));
  if (major > 6 || (major === 6 && minor >= 9)) return ok("kernel", `Linux ${release}`);
  return warning(
    "kernel",
    `Linux ${release}: a killed engine's volume is lost until it is mounted again`,
    "Linux 6.9 or later lets a new engine take over",
  );
}

/** @param searchPath the PATH variable, in which the daemon will look too */
async function tools(searchPath: string): Promise<Finding[]> {
  const missing: string[] = [];
  for (const tool of Object.keys(PACKAGES)) {
    const candidates = searchPath.split(":").map((dir) => path.join(dir, tool));
    const found = await Promise.all(
      candidates.map((file) =>
        fs.access(file, fs.constants.X_OK).then(
          () => true,
          () => false,
        ),
      ),
    );
    if (!found.includes(true)) missing.push(tool);
  }
  if (missing.length === 0) return [ok("tools", Object.keys(PACKAGES).join(" "))];
  return missing.map((tool) =>
    failed("tools", `${tool} is not in PATH`, `\`apt-get install ${PACKAGES[tool]}\`, or add /usr/sbin to PATH`),
  );
}

async function stateSpace(stateDir: string): Promise<Finding[]> {
  // The directory is made by the first start; until then its nearest parent says what it will be like.
  let dir = stateDir;
  while (
    !(await fs.access(dir).then(
      () => true,
      () => false,
    )) &&
    dir !== path.dirname(dir)
  )
    dir = path.dirname(dir);
  try {
    await fs.access(dir, fs.constants.W_OK | fs.constants.X_OK);
    if (!(await fs.stat(dir)).isDirectory()) throw new Error(`${dir} is not a directory`);
  } catch (error) {
    return [
      failed(
        "state",
        `${stateDir} cannot be written: ${(error as Error).message}`,
        "run as root, or give another --state-dir",
      ),
    ];
  }
  const { bavail, bsize } = await fs.statfs(dir);
  const free = bavail * bsize;
  const detail = `${stateDir} can be written, ${bytes(free)} free`;
  const fix = `free some space below ${dir}, or give a --state-dir on a larger disk`;
  if (free < 256 * MIB) return [failed("state", detail, fix)];
  return [free < 4096 * MIB ? warning("state", detail, fix) : ok("state", detail)];
}
