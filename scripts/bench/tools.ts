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

/** A private instance of the product. Answers how to call its plugin. */
export function startProduct(): (operation: string, body: object) => Promise<Record<string, unknown>> {
  const program = path.resolve(import.meta.dirname, "../../dist/bin/rexray-sim.js");
  const dirs = ["--state-dir", `${dir}/state`, "--run-dir", `${dir}/run`, "--plugin-dir", `${dir}/plugins`];
  sh(process.execPath, program, "up", "--detach", ...dirs, "--plugin-name", "bench");
  atEnd(() => sh(process.execPath, program, "down", "--force", "--run-dir", `${dir}/run`));
  return (operation, body) =>
    new Promise((resolve, reject) => {
      const options = { socketPath: `${dir}/plugins/bench.sock`, path: `/VolumeDriver.${operation}`, method: "POST" };
      const request = http.request(options, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (part: string) => (text += part));
        response.once("end", () => {
          const answer = JSON.parse(text) as Record<string, unknown>;
          if (answer["Err"]) reject(new Error(String(answer["Err"])));
          else resolve(answer);
        });
      });
      request.once("error", reject).end(JSON.stringify(body));
    });
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
