import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import t, { type Test } from "tap";
import { kill } from "../../src/lib/kill.ts";
import { Containers } from "../../src/mesos/agent/containers.ts";
import type { Namespace } from "../../src/mesos/agent/namespace.ts";
import { NO_STATUS, removeGroups } from "../../src/mesos/host/container-files.ts";
import type { TaskInfo } from "../../src/mesos/task.ts";
import { withWord } from "../helpers/processes.ts";
import { requiresFuse } from "../helpers/requires.ts";
import { tempDir } from "../helpers/temp-dir.ts";
import { waitFor } from "../helpers/wait.ts";

// Tasks' processes and the executor that looks after them, in this process's own namespace; its cgroups are the machine's.
const skip = requiresFuse();
const EXECUTOR = path.resolve(import.meta.dirname, "../../dist/bin/mesos-executor.sh");
const SOURCE = path.resolve(import.meta.dirname, "../../src/mesos/agent/containers.ts");

interface Fixture {
  readonly dir: string;
  readonly dirs: { readonly meta: string; readonly sandbox: string };
  readonly containers: Containers;
}

function fixture(t: Test): Fixture {
  const dir = tempDir("containers");
  const dirs = { meta: path.join(dir, path.basename(dir)), sandbox: path.join(dir, "sandbox") };
  for (const one of Object.values(dirs)) fs.mkdirSync(one);
  const fd = fs.openSync("/dev/null", "r");
  // An agent does not wait for its tasks.
  const alive = setInterval(() => undefined, 1000);
  const namespace = { fd, enter: (words: readonly string[]) => [...words] } as unknown as Namespace;
  t.teardown(async () => {
    for (const pid of withWord(dirs.meta)) kill(pid, "SIGKILL");
    await waitFor(() => withWord(dirs.meta).length === 0, { what: "the task to be gone" });
    fs.rmSync(dirs.sandbox, { recursive: true });
    await waitFor(() => removeGroups(dir), { what: "its cgroups to be gone" });
    fs.closeSync(fd);
    clearInterval(alive);
    fs.rmSync(dir, { recursive: true, force: true });
  });
  return { dir, dirs, containers: new Containers(EXECUTOR, async () => namespace) };
}

const task = (shell: string, env: Record<string, string> = {}) =>
  ({ command: { shell }, env, resources: { cpus: 0.1, mem: 32, disk: 0 } }) as unknown as TaskInfo;

/** An agent that starts a task and is killed before or after it has written down the executor. */
const killedAgent = ({ dir, dirs }: Fixture, point: "before" | "after") => `
import fs from "node:fs";
import { Containers } from ${JSON.stringify(SOURCE)};
const write = fs.writeFileSync;
fs.writeFileSync = (file, ...rest) => {
  const isRecord = String(file).endsWith("executor.json");
  if (isRecord && ${JSON.stringify(point)} === "before") process.kill(process.pid, "SIGKILL");
  write(file, ...rest);
  if (isRecord) process.kill(process.pid, "SIGKILL");
};
const fd = fs.openSync("/dev/null", "r");
const containers = new Containers(${JSON.stringify(EXECUTOR)}, async () => ({ fd, enter: (words) => words }));
await containers.start(${JSON.stringify(task(`: > ${dir}/ran; exec sleep 1000`))}, ${JSON.stringify(dirs)}, [], () => {});
`;

for (const point of ["before", "after"] as const)
  t.test(`an agent is killed ${point} it writes down its task's executor: the task never runs`, { skip }, async (t) => {
    const one = fixture(t);
    const { dir, dirs, containers } = one;
    fs.writeFileSync(path.join(dir, "agent.mts"), killedAgent(one, point));
    const agent = spawn(process.execPath, ["--import=tsx", path.join(dir, "agent.mts")], { stdio: "inherit" });
    t.equal((await once(agent, "exit"))[1], "SIGKILL");
    t.equal(await new Promise((resolve) => containers.adopt(dirs, resolve)), NO_STATUS, "its successor knows of none");
    await waitFor(() => withWord(dirs.meta).length === 0, { what: "the executor to end" });
    t.notOk(fs.existsSync(path.join(dir, "ran")));
  });

t.test("a task has what it may take, and volumes as they are bound", { skip }, async (t) => {
  const { dir, dirs, containers } = fixture(t);
  for (const name of ["source", "sandbox/target"]) fs.mkdirSync(path.join(dir, name));
  const bind = { source: path.join(dir, "source"), target: path.join(dirs.sandbox, "target"), readOnly: true };
  const shell = "cat /proc/self/cgroup; echo x > target/x; echo wrote $?; exec sleep 1000";
  await containers.start(task(shell), dirs, [bind], () => undefined);
  const said = () => fs.readFileSync(path.join(dirs.sandbox, "stdout"), "utf8");
  await waitFor(() => /^wrote/m.test(said()), { what: "the task" });
  t.notMatch(said(), /^wrote 0$/m, "37 a read-only volume is not written to");
  t.same(fs.readdirSync(bind.source), []);
  if (!fs.existsSync("/sys/fs/cgroup/cpu/tasks")) return t.comment("there are no cgroups of version 1 here");
  const id = path.basename(dirs.meta);
  for (const controller of ["cpu", "memory"]) t.match(said(), new RegExp(`:${controller}:\\S*/rexray-sim/${id}$`, "m"));
  const setting = (file: string) =>
    fs.readFileSync(`/sys/fs/cgroup/${file.replace("*", `rexray-sim/${id}`)}`, "utf8").trim();
  t.equal(setting("cpu/*/cpu.shares"), "102", "a tenth of a cpu");
  t.equal(setting("memory/*/memory.limit_in_bytes"), String(32 * 1024 ** 2));
});

t.test("a task ends with its executor: nobody would watch it", { skip }, async (t) => {
  const { dirs, containers } = fixture(t);
  const ended = new Promise<number>((resolve, reject) => {
    containers.start(task("echo on; exec sleep 1000"), dirs, [], resolve).catch(reject);
  });
  await waitFor(() => /^on$/m.test(fs.readFileSync(path.join(dirs.sandbox, "stdout"), "utf8")), { what: "it to run" });
  const { pid } = JSON.parse(fs.readFileSync(path.join(dirs.meta, "executor.json"), "utf8")) as { pid: number };
  process.kill(pid, "SIGKILL");
  t.equal(await ended, NO_STATUS);
  await waitFor(() => withWord(dirs.meta).length === 0, { what: "the end of all of it" });
});

t.test("the end of a task is that of all that it has started, also what has left its session", { skip }, async (t) => {
  const { dir, dirs, containers } = fixture(t);
  const mark = path.join(dir, "mark");
  fs.writeFileSync(mark, "");
  const shell = `(setsid tail -f ${mark} &) ; exec sleep 1000`;
  const ended = new Promise<number>((resolve, reject) => {
    containers.start(task(shell), dirs, [], resolve).catch(reject);
  });
  await waitFor(() => withWord(mark).length > 0, { what: "the grandchild" });
  await waitFor(() => containers.signal(dirs, "SIGTERM"), { what: "somebody to hear it", every: 1 });
  await ended;
  await waitFor(() => withWord(mark).length === 0, { what: "the end of the grandchild" });
});

t.test("a task that is asked to end when it has hardly begun does end", { skip }, async (t) => {
  const { dir, dirs, containers } = fixture(t);
  // It takes its time to become the leader of its group.
  fs.writeFileSync(path.join(dir, "setsid"), '#!/bin/sh\nsleep 0.3\nexec /usr/bin/setsid "$@"\n', { mode: 0o755 });
  const env = { PATH: `${dir}:${process.env["PATH"]}` };
  const ended = new Promise<number>((resolve, reject) => {
    containers.start(task("exec sleep 1000", env), dirs, [], resolve).catch(reject);
  });
  await waitFor(() => containers.signal(dirs, "SIGTERM"), { what: "somebody to hear it", every: 1 });
  t.equal(await ended, 128 + 15);
});

t.test("the end of a check that has timed out and ended at once is no error", async (t) => {
  const child = spawn("true", { detached: true });
  await once(child, "exit");
  t.equal(kill(-(child.pid as number), "SIGKILL"), false);
});
