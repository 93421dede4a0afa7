import { setTimeout as pause } from "node:timers/promises";
import t from "tap";
import { requiresFuse, requiresRoot } from "../../helpers/requires.ts";
import { type Sim, startSim } from "../../helpers/sim.ts";
import { waitFor } from "../../helpers/wait.ts";
import { CONFIG, fio, killHard, mountVolume, random, type Status, seed } from "./load.ts";

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
      const { supervisorPid } = await volume(sim);
      killHard(supervisorPid);
      // The engine has to have noticed: losing both at once is losing the mount.
      await waitFor(async () => load.over() || (await volume(sim)).supervisorPid !== supervisorPid, {
        what: "a new supervisor",
      });
      if (!load.over()) killHard((await volume(sim)).enginePid);
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
