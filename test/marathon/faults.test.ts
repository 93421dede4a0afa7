import fs from "node:fs";
import path from "node:path";
import t from "tap";
import { withWord } from "../helpers/processes.ts";
import { requiresFuse } from "../helpers/requires.ts";
import { run } from "../helpers/run.ts";
import { waitFor } from "../helpers/wait.ts";
import { startWorld, stateful, type World } from "./world.ts";

// Faults on agents (spec/marathon.md 12.8), as users put them there.
const skip = requiresFuse();
const PREEMPT =
  "libstorage:\n  integration:\n    volume:\n      operations:\n        mount:\n          preempt: true\n";

/** Puts a fault on all agents. */
async function everywhere(world: World, type: string, ...pairs: string[]): Promise<void> {
  for (const { name } of await world.sim.json<{ name: string }[]>("agent", "ls")) {
    const { code, stderr } = await world.sim.cli("fault", "add", type, name, ...pairs);
    if (code !== 0) throw new Error(stderr);
  }
}

t.test("mount fails, hangs; unmount fails; no isolator", { skip, timeout: 120_000 }, async (t) => {
  const world = await startWorld(t);
  await everywhere(world, "mount-fails", "text=out of luck");
  await world.call("POST", "/v2/apps", stateful("/a", "v1"));
  const failure = await waitFor(async () => (await world.app("/a")).lastTaskFailure, { what: "a failure" });
  t.match(failure.message, /^Failed to launch container: Unexpected termination of the subprocess: out of luck/);
  await world.sim.cli("fault", "reset");
  const task = await world.runs("/a");

  await everywhere(world, "mount-hangs", "seconds=1");
  await world.call("POST", "/v2/apps", stateful("/b", "v2"));
  await waitFor(async () => (await world.app("/b")).tasks.some(({ state }) => state === "TASK_STAGING"), {
    what: "a late start",
  });
  await world.runs("/b");
  await world.sim.cli("fault", "reset");

  await world.sim.cli("fault", "add", "unmount-fails", task.host);
  await world.call("DELETE", "/v2/apps/a");
  await waitFor(async () => (await world.call("GET", "/v2/apps/a")).status === 404, { what: "a to go" });
  const checkpoints = path.join(world.sim.stateDir, "agents", task.host, "isolators/docker/volume");
  t.equal(world.mounted().length, 2, "nobody has given the volume back");
  await world.sim.cli("fault", "reset");
  t.equal(world.mounted().length, 2, "and nobody tries again");
  const agents = await world.sim.json<{ name: string; pid: number }[]>("agent", "ls");
  process.kill(agents.find(({ name }) => name === task.host)?.pid as number, "SIGKILL");
  await waitFor(() => world.mounted().length === 1, { what: "the agent that comes back to clean up" });
  t.ok(fs.existsSync(checkpoints));

  await everywhere(world, "no-isolator");
  await world.call("POST", "/v2/apps", stateful("/c", "v3", { cmd: "ls; exec sleep 1000" }));
  const bare = await world.runs("/c");
  await world.said(bare, /stderr/);
  t.notMatch(world.stdout(bare), /^data$/m);
  t.equal(world.mounted().length, 1);
});

t.test("an agent is lost by a fault, and is back when it is taken away", { skip, timeout: 180_000 }, async (t) => {
  const world = await startWorld(t, { head: PREEMPT });
  await world.call("POST", "/v2/apps", stateful("/w", "v1"));
  const first = await world.runs("/w");
  await world.said(first, /^start/m);
  t.equal((await world.sim.cli("fault", "add", "--name", "gone", "agent-lost", first.host)).code, 0);
  const second = await world.runs("/w");
  t.not(second.host, first.host);
  await world.said(second, new RegExp(`start ${first.id}\nstart ${second.id}`));
  const refused = await world.sim.cli("agent", "start", first.host);
  t.match(refused.stderr, /fault gone keeps it away; `rexray-sim fault rm gone` brings it back/);
  await world.sim.restart("SIGKILL");
  t.match((await world.sim.cli("agent", "ls")).stdout, new RegExp(`${first.host} +failed`));
  t.equal((await world.sim.cli("fault", "rm", "gone")).code, 0);
  t.match((await world.sim.cli("agent", "ls")).stdout, new RegExp(`${first.host} +up`));
  t.equal((await world.runs("/w")).id, second.id);

  // The example, at this instance's port, and what its steps have not.
  const example = fs
    .readFileSync("examples/agent-loss.yml", "utf8")
    .replaceAll("http://127.0.0.1:8080", world.marathon);
  const more = `  - do: fault reset
  - do: [fault, add, mount-fails, agent-1, text=out of luck, --name, f]
  - do: fault rm f
  - do: fault add mount-hangs agent-1 seconds=2
  - do: fault add unmount-fails agent-1
  - do: fault add no-isolator agent-1
  - do: fault reset
  - expect: app /w running
  - expect: agent agent-1 up
`;
  const file = path.join(world.sim.dir, "scenario.yml");
  fs.writeFileSync(file, example + more);
  const { code, stdout, stderr } = await world.sim.cli("scenario", "run", file);
  t.equal(code, 0, stdout + stderr);

  const wrong = await world.sim.cli("fault", "add", "agent-lost", "sds-1");
  t.match(wrong.stderr, /cannot be on "sds-1"; it can be on agent-1, agent-2, agent-3/);
});

t.test(
  "a mount under way dies with its agent: it takes the volume from nobody",
  { skip, timeout: 150_000 },
  async (t) => {
    const world = await startWorld(t, { head: PREEMPT, agents: " 2\n" });
    const volume = `v${process.pid}`;
    const mounting = () => withWord(`--volumename=${volume}`);
    await everywhere(world, "mount-hangs", "seconds=4");
    await world.call("POST", "/v2/apps", stateful("/w", volume));
    const first = await waitFor(async () => (await world.app("/w")).tasks[0]?.host, { what: "a place for it" });
    await waitFor(() => mounting().length > 0, { what: "the mount to hang" });
    const hangs = performance.now();
    // The process alone is killed: its successor begins another mount, of another task, and the first one must not go on.
    const agents = await world.sim.json<{ name: string; pid: number }[]>("agent", "ls");
    const before = mounting();
    process.kill(agents.find(({ name }) => name === first)?.pid as number, "SIGKILL");
    await waitFor(() => mounting().every((pid) => !before.includes(pid)), { what: "dvdcli to end with its agent" });
    await world.sim.cli("fault", "reset");
    await world.sim.cli("agent", "kill", first);
    await waitFor(() => mounting().length === 0, { what: "nobody to mount any more" });
    const task = await world.runs("/w", 60_000);
    t.not(task.host, first);
    // A call at the dead host's socket, as one that was not killed would make it.
    const pluginDir = path.join(world.sim.runDir, "agents", first, "plugins");
    const env = { ...world.sim.env, REXRAY_SIM_PLUGIN_DIR: pluginDir };
    const program = path.resolve(import.meta.dirname, "../../dist/bin/dvdcli.js");
    const late = await run(process.execPath, [program, "mount", "--volumedriver=rexray", `--volumename=${volume}`], {
      env,
    });
    t.match(late, { code: 1, stderr: new RegExp(`host ${first} is lost`) });
    await waitFor(() => performance.now() > hangs + 4_500, { what: "the time when the first mount would have come" });
    t.equal((await world.runs("/w")).id, task.id, "the writer is left alone");
    await world.sim.restart("SIGKILL");
    t.match(
      await run(process.execPath, [program, "mount", "--volumedriver=rexray", `--volumename=${volume}`], { env }),
      {
        code: 1,
        stderr: /is lost/,
      },
    );
  },
);
