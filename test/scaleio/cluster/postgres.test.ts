import fs from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import t from "tap";
import { requiresFuse, requiresRoot, requiresTools } from "../../helpers/requires.ts";
import { output } from "../../helpers/run.ts";
import { startSim } from "../../helpers/sim.ts";
import { waitFor } from "../../helpers/wait.ts";
import { killHard, mountVolume, random, running, type Status, seed } from "./load.ts";

const SECONDS = Number(process.env["KILL_SECONDS"] ?? 12);
const USER = "postgres";

t.comment(`KILL_SEED=${seed}`);

t.test(
  "PostgreSQL runs pgbench on a volume while every process of ours is killed",
  { skip: requiresRoot() || requiresFuse() || requiresTools("pgbench") },
  async (t) => {
    const sim = await startSim(t, {
      config: "simulator:\n  granularity: 512MB\nlinux:\n  volume:\n    fileMode: '0711'\n",
    });
    const directory = await mountVolume(sim, "pg", { size: "512MB" });
    // The server runs as a user of its own, who has to get there.
    for (let parent = directory; parent !== "/"; parent = path.dirname(parent))
      fs.chmodSync(parent, fs.statSync(parent).mode | 0o111);
    const [uid, gid] = ["-u", "-g"].map((flag) => output("id", [flag, USER]));
    const [owner, group] = [Number(await uid), Number(await gid)];
    const data = path.join(directory, "db");
    fs.mkdirSync(data, { mode: 0o700 });
    fs.chownSync(data, owner, group);
    const [version] = fs.readdirSync("/usr/lib/postgresql");
    const tool = (name: string) => `/usr/lib/postgresql/${version}/bin/${name}`;
    const as = {
      uid: owner,
      gid: group,
      env: { PATH: process.env["PATH"], PGHOST: data, PGUSER: USER, PGDATABASE: "postgres", LC_ALL: "C" },
    };

    await running(tool("initdb"), ["--pgdata", data, "--auth=trust", "--username", USER], as).ended;
    const server = running(tool("postgres"), ["-D", data, "-k", data, "-c", "listen_addresses="], as);
    t.teardown(async () => {
      server.child.kill("SIGQUIT");
      await server.ended.catch(() => undefined);
    });
    const sql = (command: string) => running("psql", ["-Atc", command], as).ended;
    await waitFor(() => sql("select 1"), { what: "the server to answer", deadline: 30_000, every: 100 });
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
    t.ok(kills > 3, `${kills} kills`);
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
