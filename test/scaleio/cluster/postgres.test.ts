import { setTimeout as pause } from "node:timers/promises";
import t from "tap";
import { requiresFuse, requiresRoot, requiresTools } from "../../helpers/requires.ts";
import { startSim } from "../../helpers/sim.ts";
import { waitFor } from "../../helpers/wait.ts";
import { killHard, mountVolume, random, running, type Status, seed } from "./load.ts";
import { startPostgres } from "./postgres.ts";

const SECONDS = Number(process.env["KILL_SECONDS"] ?? 12);

t.comment(`KILL_SEED=${seed}`);

t.test(
  "PostgreSQL runs pgbench on a volume while every process of ours is killed",
  { skip: requiresRoot() || requiresFuse() || requiresTools("pgbench") },
  async (t) => {
    const sim = await startSim(t, {
      config: "simulator:\n  granularity: 512MB\nlinux:\n  volume:\n    fileMode: '0711'\n",
    });
    const directory = await mountVolume(sim, "pg", { size: "512MB" });
    const { as, sql } = await startPostgres(t, directory);
    await running("pgbench", ["--initialize", "--scale=2", "--quiet"], as).ended;

    const load = running("pgbench", ["--client=2", `--time=${SECONDS}`, "--no-vacuum"], as);
    let kills = 0;
    while (!load.over()) {
      await pause(300 + random() * 700);
      if (load.over()) break;
      const [volume] = (await sim.json<Status>("status")).volumes as [Status["volumes"][number]];
      const victim = Math.floor(random() * 3);
      if (victim === 0) killHard(volume.enginePid);
      else if (victim === 1) killHard(volume.supervisorPid);
      else await sim.restart("SIGKILL");
      kills++;
      // Losing supervisor and engine in one instant is losing the mount, as losing the machine is: nodes.test.ts has that.
      await waitFor(
        async () => {
          const [now] = (await sim.json<Status>("status")).volumes as [Status["volumes"][number]];
          return (
            load.over() ||
            (victim === 0
              ? now.enginePid !== volume.enginePid
              : victim === 1
                ? now.supervisorPid !== volume.supervisorPid
                : true)
          );
        },
        { what: "a successor of the killed process" },
      );
    }
    const said = await load.ended;
    t.ok(kills > 2, `${kills} kills`);
    t.match(said, /number of failed transactions: 0 /);
    const done = Number(/number of transactions actually processed: (\d+)/.exec(said)?.[1]);
    t.equal(
      Number(await sql("select count(*) from pgbench_history")),
      done,
      "every transaction that was acknowledged is there",
    );
    t.equal(
      await sql("select sum(abalance) = (select sum(bbalance) from pgbench_branches) from pgbench_accounts"),
      "t\n",
      "and the books balance",
    );
  },
);
