import fs from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import t from "tap";
import { call } from "../../helpers/plugin-client.ts";
import { requiresFuse, requiresRoot } from "../../helpers/requires.ts";
import { type Sim, startSim } from "../../helpers/sim.ts";
import { waitFor } from "../../helpers/wait.ts";
import {
  CONFIG,
  dropCaches,
  fio,
  killHard,
  mountAgain,
  mountVolume,
  random,
  replace,
  type Status,
  seed,
} from "./load.ts";

const SECONDS = Number(process.env["KILL_SECONDS"] ?? 6);

t.comment(`KILL_SEED=${seed}`);

const volume = async (sim: Sim) => (await sim.json<Status>("status")).volumes[0] as Status["volumes"][number];

/** Kills at random moments for as long as the load runs; answers how often. */
async function harass(over: () => boolean, kill: () => Promise<void>): Promise<number> {
  let kills = 0;
  while (!over()) {
    await pause(100 + random() * 500);
    if (over()) break;
    await kill();
    kills++;
  }
  return kills;
}

t.test("a verifying load goes on without an error while", { skip: requiresRoot() || requiresFuse() }, async (t) => {
  const sim = await startSim(t, { config: CONFIG });
  const directory = await mountVolume(sim, "kill", { size: "64MB" });

  await t.test("the engine is killed", async (t) => {
    const load = fio(directory, SECONDS);
    const kills = await harass(load.over, async () => killHard((await volume(sim)).enginePid));
    await load.ended;
    t.ok(kills > 1, `${kills} kills`);
  });

  await t.test("the supervisor is killed, and then the engine", async (t) => {
    const load = fio(directory, SECONDS);
    const kills = await harass(load.over, async () => {
      await replace(sim, "supervisorPid", load.over);
      if (!load.over()) await replace(sim, "enginePid", load.over);
    });
    await load.ended;
    t.ok(kills > 1, `${kills} kills`);
  });

  await t.test("the daemon is killed and started", async (t) => {
    const load = fio(directory, SECONDS);
    const kills = await harass(load.over, () => sim.restart("SIGKILL"));
    await load.ended;
    t.ok(kills > 1, `${kills} kills`);
    t.equal((await volume(sim)).health, "ok");
  });
});

/** The engine that repairs layers which nobody uses: a child of the daemon. */
const repairPid = ({ pid }: Sim) =>
  fs
    .readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .find((id) => {
      try {
        const parent = /^PPid:\t(\d+)$/m.exec(fs.readFileSync(`/proc/${id}/status`, "utf8"))?.[1];
        return Number(parent) === pid && fs.readFileSync(`/proc/${id}/cmdline`, "utf8").includes("--repair");
      } catch {
        return false;
      }
    });

t.test(
  "a rebuild goes on when those who do it are killed in the middle of it",
  { skip: requiresRoot() || requiresFuse(), timeout: 120_000 },
  async (t) => {
    const sim = await startSim(t, { config: CONFIG });
    const content = Buffer.from(Array.from({ length: 1024 * 1024 }, () => Math.floor(random() * 256)));
    const directories = new Map<string, string>();
    for (const name of ["busy", "shelf"]) {
      const directory = await mountVolume(sim, name, { size: "64MB" });
      directories.set(name, directory);
      for (let n = 0; n < 24; n++) fs.writeFileSync(path.join(directory, `${n}`), content, { flush: true });
    }
    await call(sim.socket, "Unmount", { Name: "shelf", ID: "test" });
    const isUnderWay = async () => ((await sim.json<Status>("status")).pools[0]?.rebuildBytes ?? 0) > 0;
    // Slow enough to be met at it.
    for (const sds of ["sds-1", "sds-3", "sds-4"]) await sim.cli("fault", "add", "slow", sds, "ms=10");
    t.equal((await sim.cli("sds", "stop", "sds-2")).code, 0);
    const engine = () => replace(sim, "enginePid");
    const supervisor = () => replace(sim, "supervisorPid");
    const repair = () =>
      waitFor(() => repairPid(sim), { what: "a repair process" }).then(() => killHard(repairPid(sim) ?? 0));
    for (const end of [engine, supervisor, () => sim.restart("SIGKILL"), repair]) {
      await waitFor(isUnderWay, { what: "the rebuild" });
      await end();
    }
    t.ok(await isUnderWay(), "it was killed in the middle");
    await sim.cli("fault", "reset");
    await waitFor(
      async () => {
        const [pool] = (await sim.json<{ pools: { health: string }[] }>("status")).pools;
        return pool?.health === "ok";
      },
      { what: "two good copies of every chunk", deadline: 60_000 },
    );
    // Of what lay on two of the nodes, what was rebuilt is all there is now.
    t.equal((await sim.cli("sds", "stop", "sds-1")).code, 0);
    directories.set("shelf", await mountAgain(sim, "shelf", "test"));
    dropCaches();
    for (const directory of directories.values())
      for (let n = 0; n < 24; n++) t.ok(fs.readFileSync(path.join(directory, `${n}`)).equals(content));
  },
);
