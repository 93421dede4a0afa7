import fs from "node:fs";
import path from "node:path";
import t from "tap";
import { findLeaks } from "../helpers/leaks.ts";
import { post } from "../helpers/plugin-client.ts";
import { requiresFuse } from "../helpers/requires.ts";
import { waitFor } from "../helpers/wait.ts";
import { startWorld, type World } from "./world.ts";

// Many applications with a volume each come, run and go, and so do their volumes: nothing is left of them. `APPS=200` for the
// number of a long run.
const APPS = Number(process.env["APPS"] ?? 40);
const DEADLINE = 120_000 + APPS * 3000;

const app = (id: string, volume: string) => ({
  id,
  cmd: "echo here > data/f; exec sleep 1000",
  cpus: 0.01,
  mem: 16,
  portDefinitions: [],
  container: {
    type: "MESOS",
    volumes: [
      {
        containerPath: "data",
        mode: "RW",
        external: { name: volume, provider: "dvdi", size: 1, options: { "dvdi/driver": "rexray" } },
      },
    ],
  },
  upgradeStrategy: { minimumHealthCapacity: 0, maximumOverCapacity: 0 },
});

/** All that there is of an instance on this machine, in words. */
function present({ sim }: World): Record<string, readonly string[]> {
  const agents = path.join(sim.stateDir, "agents");
  const names = fs.readdirSync(agents);
  const below = (dir: string) => (fs.existsSync(dir) ? fs.readdirSync(dir) : []);
  const containers = new Set(names.flatMap((name) => below(path.join(agents, name, "meta"))));
  const groups = ["memory", "cpu", "."].flatMap((one) => below(path.join("/sys/fs/cgroup", one, "rexray-sim")));
  const leaks = findLeaks({ dir: sim.dir });
  const of = (kind: string) => leaks.filter((leak) => leak.kind === kind).map(({ what }) => what);
  return {
    processes: of("process"),
    mounts: of("mount"),
    "loop devices": of("loop device"),
    sockets: of("socket"),
    "cgroups of ours": groups.filter((id) => containers.has(id)),
    checkpoints: names.flatMap((name) => below(path.join(agents, name, "isolators/docker/volume"))),
    "volumes' directories": below(path.join(sim.runDir, "sdc")),
    "chunk files": fs
      .readdirSync(path.join(sim.stateDir, "sds"), { recursive: true, encoding: "utf8" })
      .filter((file) => file.includes("volume")),
    applications: below(path.join(sim.stateDir, "marathon/apps")),
  };
}

t.test(
  `${APPS} applications with a volume each run, and go without a trace`,
  { skip: requiresFuse(), timeout: 60_000 + 3 * DEADLINE },
  async (t) => {
    const world = await startWorld(t);
    const apps = async () => (await world.call("GET", "/v2/apps")).body.apps as { id: string; tasksRunning: number }[];
    const remove = async (group: string, volumes: readonly string[]) => {
      t.equal((await world.call("DELETE", `/v2/groups${group}?force=true`)).status, 200);
      await waitFor(async () => (await apps()).length === 0, {
        what: "the applications to go",
        deadline: DEADLINE,
        every: 200,
      });
      // A task that was tried twice gives its volume back twice.
      await waitFor(() => world.mounted().length === 0 && present(world)["checkpoints"]?.length === 0, {
        what: "the volumes to be given back",
        deadline: DEADLINE,
      });
      // What has just been unmounted may be still on its way out.
      const gone = async (Name: string) =>
        (await post(world.sim.socket, "/VolumeDriver.Remove", { body: { Name } })).status === 200;
      for (const name of volumes)
        await waitFor(() => gone(name), { what: `${name} to be removed`, deadline: DEADLINE });
    };
    // What agents have from their first task on is there before we look.
    for (const name of ["agent-1", "agent-2", "agent-3"]) {
      const pinned = { constraints: [["hostname", "CLUSTER", name]] };
      await world.call("POST", "/v2/apps", { ...app(`/first/${name}`, `first-${name}`), ...pinned });
      await world.runs(`/first/${name}`, DEADLINE);
    }
    await remove("/first", ["first-agent-1", "first-agent-2", "first-agent-3"]);
    const before = present(world);

    const began = performance.now();
    const names = Array.from({ length: APPS }, (_, i) => `v${i}`);
    const posted = await world.call("POST", "/v2/groups", {
      id: "/many",
      apps: names.map((name) => app(`/many/${name}`, name)),
    });
    t.equal(posted.status, 201);
    await waitFor(async () => (await apps()).filter(({ tasksRunning }) => tasksRunning === 1).length === APPS, {
      what: "all to run",
      deadline: DEADLINE,
      every: 200,
    });
    const run = performance.now();
    t.equal(world.mounted().length, APPS, "each has its volume");
    await remove("/many", names);
    t.comment(
      `${APPS} run after ${Math.round((run - began) / 1000)} s, are gone after another ${Math.round((performance.now() - run) / 1000)} s`,
    );
    await waitFor(() => JSON.stringify(present(world)) === JSON.stringify(before), { what: "all to be gone" }).catch(
      () => undefined,
    );
    t.same(present(world), before);
    t.same(await world.sim.json("volume", "ls"), []);
  },
);
