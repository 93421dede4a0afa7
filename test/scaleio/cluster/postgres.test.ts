import { setTimeout as pause } from "node:timers/promises";
import t from "tap";
import { requiresFuse, requiresRoot, requiresTools } from "../../helpers/requires.ts";
import { startSim } from "../../helpers/sim.ts";
import { mountVolume, random, replace, running, seed } from "./load.ts";
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
      const victim = Math.floor(random() * 3);
      if (victim === 0) await replace(sim, "enginePid", load.over);
      else if (victim === 1) await replace(sim, "supervisorPid", load.over);
      else await sim.restart("SIGKILL");
      kills++;
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
