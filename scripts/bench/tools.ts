import { execFileSync, spawn } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";

/** Work directory of a run; everything in it is removed at the end, also after Ctrl-C. */
export const dir = fs.mkdtempSync(path.join(process.env["BENCH_DIR"] ?? os.tmpdir(), "rexray-bench-"));

const undo: (() => void)[] = [() => fs.rmSync(dir, { recursive: true, force: true })];

/** Registers what has to be undone at the end; the last comes first. */
export const atEnd = (task: () => void): void => void undo.push(task);

function cleanUp(): void {
  for (const task of undo.splice(0).reverse()) {
    try {
      task();
    } catch (error) {
      console.error(`clean-up: ${error instanceof Error ? error.message : error}`);
    }
  }
}
process.on("exit", cleanUp);
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(130));

export const sh = (file: string, ...args: string[]): string =>
  execFileSync(file, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

const PROGRAM = path.resolve(import.meta.dirname, "../../dist/bin/rexray-sim.js");

// Agents are measured where they are meant.
process.env["REXRAY_SIM_AGENTS"] = "0";

/** Runs a rexray-sim command on an instance of {@link startProduct}. */
export const order = (name: string, ...args: string[]): string =>
  sh(process.execPath, PROGRAM, ...args, "--run-dir", `${dir}/${name}/run`);

/** A private instance of the product, with this configuration. Answers how to call its plugin. */
export function startProduct(
  name = "bench",
  config = "",
): (operation: string, body: object) => Promise<Record<string, unknown>> {
  const home = `${dir}/${name}`;
  fs.mkdirSync(home);
  fs.writeFileSync(`${home}/config.yml`, config);
  const dirs = ["--state-dir", `${home}/state`, "--run-dir", `${home}/run`, "--plugin-dir", `${home}/plugins`];
  sh(process.execPath, PROGRAM, "up", "--detach", ...dirs, "--config", `${home}/config.yml`, "--plugin-name", "bench");
  atEnd(() => stopProduct(name));
  return async (operation, body) => {
    const answer = await post(`${home}/plugins/bench.sock`, `/VolumeDriver.${operation}`, body);
    if (answer["Err"]) throw new Error(String(answer["Err"]));
    return answer;
  };
}

/** Asks an instance's administration interface: what a command does, without the start of a process. */
export async function administer(name: string, path: string, body: object): Promise<void> {
  const answer = await post(`${dir}/${name}/run/admin.sock`, path, body);
  if (answer["code"]) throw new Error(String(answer["message"]));
}

function post(socketPath: string, path: string, body: object): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    // A connection of its own: the instance that an old one leads to may be gone.
    const headers = { "content-type": "application/json" };
    const request = http.request({ socketPath, path, method: "POST", agent: false, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => (text += part));
      response.once("end", () => resolve(JSON.parse(text) as Record<string, unknown>));
    });
    request.once("error", reject).end(JSON.stringify(body));
  });
}

/** Ends an instance and removes what it has, if it is there. */
export function stopProduct(name: string): void {
  if (!fs.existsSync(`${dir}/${name}`)) return;
  order(name, "down", "--force");
  fs.rmSync(`${dir}/${name}`, { recursive: true });
}

/** ext4 on a direct-I/O loop device over a file, mounted; what the peers of the comparison have. */
export function ext4On(file: string, name: string): string {
  const device = sh("losetup", "--direct-io=on", "--find", "--show", file);
  atEnd(() => sh("losetup", "--detach", device));
  sh("mkfs.ext4", "-q", "-F", device);
  const mountpoint = path.join(dir, name);
  fs.mkdirSync(mountpoint);
  sh("mount", device, mountpoint);
  atEnd(() => sh("umount", mountpoint));
  return mountpoint;
}

/** A file served by nbdkit through nbdfuse. */
export async function nbdfuse(bytes: number): Promise<string> {
  const [image, file] = [path.join(dir, "nbd.img"), path.join(dir, "nbd")];
  sh("truncate", "--size", String(bytes), image);
  fs.writeFileSync(file, "");
  const server = spawn("nbdfuse", [file, "--command", "nbdkit", "-s", "file", image], { stdio: "ignore" });
  atEnd(() => sh("umount", file));
  for (let i = 0; i < 200 && fs.statSync(file).size === 0; i++) {
    if (server.exitCode !== null) throw new Error("nbdfuse ended: are nbdkit and libnbd-bin installed?");
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  return file;
}

/** IOPS of a job on a file of 1 GiB in the directory. */
export function fio(
  directory: string,
  { rw, bs, depth }: { rw: string; bs: string; depth: number },
  runtime: number,
): number {
  const args = [
    "--name=bench",
    `--filename=${path.join(directory, "file")}`,
    "--size=1G",
    `--rw=${rw}`,
    `--bs=${bs}`,
    `--iodepth=${depth}`,
  ];
  const json = sh(
    "fio",
    ...args,
    "--ioengine=libaio",
    "--direct=1",
    "--time_based",
    `--runtime=${runtime}`,
    "--output-format=json",
  );
  const [job] = (JSON.parse(json) as { jobs: [{ read: { iops: number }; write: { iops: number } }] }).jobs;
  return job.read.iops + job.write.iops;
}
