import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import type { Test } from "tap";
import { call } from "../../helpers/plugin-client.ts";
import { randomOf } from "../../helpers/random.ts";
import type { Sim } from "../../helpers/sim.ts";
import { waitFor } from "../../helpers/wait.ts";

/** Small volumes, quick to make and to compare. */
export const CONFIG = "simulator:\n  granularity: 64MB\n";

/** A seed that a failing run prints and `KILL_SEED` replays. */
export const seed = Number(process.env["KILL_SEED"] ?? Math.floor(Math.random() * 1e9));
export const random = randomOf(seed);

/** Creates and mounts a volume through the plugin's socket; answers the directory. */
export async function mountVolume(sim: Sim, name: string, options: Record<string, string> = {}): Promise<string> {
  await call(sim.socket, "Create", { Name: name, Opts: options });
  return mountAgain(sim, name, "test");
}

export async function mountAgain(sim: Sim, name: string, id: string): Promise<string> {
  return (await call<{ Mountpoint: string }>(sim.socket, "Mount", { Name: name, ID: id })).Mountpoint;
}

export interface Status {
  health: string;
  reasons: string[];
  sds: { name: string; state: string; since: string }[];
  pools: { health: string; rebuildBytes: number; rebalanceBytes: number }[];
  volumes: { name: string; health: string; enginePid: number; supervisorPid: number; id: string; device: string }[];
  alerts: { type: string; text: string }[];
}

export const status = (sim: Sim) => sim.json<Status>("status");
export const stateOf = async (sim: Sim, name: string) =>
  (await status(sim)).sds.find((sds) => sds.name === name)?.state;

/** What the command prints. Throws where it fails. */
export async function cli(sim: Sim, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await sim.cli(...args);
  if (code !== 0) throw new Error(`rexray-sim ${args.join(" ")}: ${stderr}`);
  return stdout.trim();
}

export interface Layout {
  chunkBytes: number;
  sizeBytes: number;
  id: string;
  device: string;
  devices: { sds: string; file: string }[];
  chunks: { chunk: number; primary: string; secondary: string; third?: string; stale: string[] }[];
}

/** A command that runs beside the test. Throws with its output when it fails. */
export function running(
  file: string,
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; uid?: number; gid?: number } = {},
) {
  const child = spawn(file, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
  let said = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (part: string) => (said += part));
  const ended = new Promise<string>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) =>
      code === 0 ? resolve(said) : reject(new Error(`${file} ended with status ${code}:\n${said}`)),
    );
  });
  ended.catch(() => undefined);
  return { ended, child, over: () => child.exitCode !== null || child.signalCode !== null };
}

/** A verifying random-write load on a file of the volume. */
export function fio(directory: string, seconds: number) {
  return running("fio", [
    "--name=verified",
    `--filename=${path.join(directory, "fio")}`,
    "--size=24M",
    "--rw=randwrite",
    "--bs=4k",
    "--iodepth=8",
    "--ioengine=libaio",
    "--direct=1",
    "--verify=crc32c",
    "--verify_backlog=512",
    "--verify_fatal=1",
    "--verify_state_save=0",
    "--time_based",
    `--runtime=${seconds}`,
  ]);
}

/** What fio ends with when it was told to. */
const INTERRUPTED = 128;

/** Ends such a load before its time. Throws with its output when it has found anything wrong. */
export async function endFio(load: ReturnType<typeof fio>): Promise<void> {
  load.child.kill("SIGINT");
  const said = await load.ended.catch((error: Error) => error.message);
  if (!said.includes("err= 0") || ![0, INTERRUPTED].includes(load.child.exitCode ?? -1)) throw new Error(said);
}

/** Such a load that has begun, and goes on until `end` ends it, or the test's own end. */
export async function lastingFio(t: Test, directory: string) {
  const load = fio(directory, 3600);
  t.teardown(() => load.child.kill("SIGKILL"));
  await waitFor(() => fs.existsSync(path.join(directory, "fio")), { what: "the load to begin" });
  return {
    /** Throws when it has ended by itself, or has met any error. */
    async end(): Promise<void> {
      if (load.over()) throw new Error(`the load was over before its time: ${await load.ended.catch(String)}`);
      await endFio(load);
    },
  };
}

/** Kills a process for good; one that is gone already is fine. */
export function killHard(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It was quicker.
  }
}

/** Reads the engine's page-cached view away: what a read finds afterwards comes from the SDS files. */
export function dropCaches(): void {
  fs.writeFileSync("/proc/sys/vm/drop_caches", "3");
}

/**
 * Kills the engine or the supervisor of the first volume, and waits for the next one, or for the end of the load: losing both at
 * once is losing the mount (nodes.test.ts).
 */
export async function replace(sim: Sim, which: "enginePid" | "supervisorPid", over = () => false): Promise<void> {
  const current = async () => (await status(sim)).volumes[0]?.[which] ?? 0;
  const before = await current();
  killHard(before);
  await waitFor(async () => over() || (await current()) !== before, { what: `another ${which}` });
}
