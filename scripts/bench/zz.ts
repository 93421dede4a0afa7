import { order, startProduct } from "./tools.ts";
const MANY = Number(process.env["MANY"]);
import { dir } from "./tools.ts";
import { spawn } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
const home = `${dir}/bench`;
fs.mkdirSync(home);
fs.writeFileSync(`${home}/config.yml`, "simulator:\n  granularity: 1MB\n  deviceSize: 64TB\n");
const child = spawn(process.execPath, ["--cpu-prof", "--cpu-prof-dir=/tmp/prof", "dist/bin/rexray-sim.js", "up", "--state-dir", `${home}/state`, "--run-dir", `${home}/run`, "--plugin-dir", `${home}/plugins`, "--config", `${home}/config.yml`, "--plugin-name", "bench"], { stdio: "ignore" });
void startProduct;
while (!fs.existsSync(`${home}/plugins/bench.sock`)) await new Promise((r) => setTimeout(r, 100));
const call = (operation: string, body: object) => new Promise<void>((resolve) => {
  const q = http.request({ socketPath: `${home}/plugins/bench.sock`, path: `/VolumeDriver.${operation}`, method: "POST", agent: false }, (res) => { res.resume(); res.once("end", () => resolve()); });
  q.end(JSON.stringify(body));
});

let made = 0;
const lane = async () => {
  while (made < MANY) await call("Create", { Name: `v${++made}`, Opts: { size: "8GB" } });
};
let t0 = performance.now();
await Promise.all(Array.from({ length: 8 }, lane));
console.log("made", (performance.now() - t0) / 1000);
await new Promise((r) => setTimeout(r, 3000));
const timed = (what: string, ...args: string[]) => { t0 = performance.now(); try { order("bench", ...args); } catch (e) { console.log((e as Error).message.split("\n")[1]); } console.log(what, ((performance.now() - t0) / 1000).toFixed(2)); };
timed("status", "status", "--json");
timed("stop", "sds", "stop", "sds-2");
timed("status", "status", "--json");
timed("status", "status", "--json");
await new Promise((r) => setTimeout(r, 5000));
timed("status", "status", "--json");
order("bench", "down", "--force"); await new Promise((r) => child.once("exit", r)); process.exit(0);
