import { execFile } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";
import t from "tap";
import { requiresFuse, requiresTools } from "../helpers/requires.ts";
import { waitFor } from "../helpers/wait.ts";
import { randomOf } from "../scaleio/sdc/simulation.ts";
import { startWorld } from "./world.ts";

// A database in a MESOS container, a client that writes numbered records all the time, and hosts that are lost at random: what
// the client was told is in the database at the end.
const SECONDS = Number(process.env["KILL_SECONDS"] ?? 20);
const seed = Number(process.env["KILL_SEED"] ?? Math.floor(Math.random() * 1e9));
const VERSIONS = "/usr/lib/postgresql";
const bin = fs.existsSync(VERSIONS) ? path.join(VERSIONS, fs.readdirSync(VERSIONS).at(-1) as string, "bin") : "";
const skip = requiresFuse() || requiresTools("psql", "setpriv") || (bin === "" && "needs PostgreSQL");
const PREEMPT =
  "libstorage:\n  integration:\n    volume:\n      operations:\n        mount:\n          preempt: true\n";

const COMMAND = `
  set -e
  as="setpriv --reuid postgres --regid postgres --clear-groups"
  chown postgres data
  if [ ! -e data/made ]; then
    rm -rf data/pg
    $as ${bin}/initdb --pgdata data/pg --auth trust --username t >/dev/null
    sync
    touch data/made
  fi
  rm -f data/pg/postmaster.pid
  exec $as ${bin}/postgres -D data/pg -p $PORT0 -k '' -h 127.0.0.1
`;

const APP = {
  id: "/db",
  cmd: COMMAND,
  cpus: 0.5,
  mem: 256,
  container: {
    type: "MESOS",
    volumes: [
      {
        containerPath: "data",
        mode: "RW",
        external: { name: "pgdata", provider: "dvdi", size: 1, options: { "dvdi/driver": "rexray" } },
      },
    ],
  },
  upgradeStrategy: { minimumHealthCapacity: 0, maximumOverCapacity: 0 },
  backoffSeconds: 1,
  backoffFactor: 1,
};

t.test(
  "PostgreSQL loses its hosts: every acknowledged record is there",
  { skip, timeout: 240_000 + SECONDS * 1000 },
  async (t) => {
    t.comment(`KILL_SEED=${seed}`);
    const random = randomOf(seed);
    const world = await startWorld(t, { head: PREEMPT });
    // The database's user has to pass through.
    for (let dir = world.sim.stateDir; dir !== "/tmp" && dir !== "/"; dir = path.dirname(dir)) fs.chmodSync(dir, 0o755);
    t.equal((await world.call("POST", "/v2/apps", APP)).status, 201);
    const query = async (sql: string): Promise<string> => {
      const port = (await world.app("/db")).tasks.find(({ state }) => state === "TASK_RUNNING")?.ports[0] ?? 1;
      const flags = ["-h", "127.0.0.1", "-p", String(port), "-U", "t", "-d", "postgres", "-qAt", "-c", sql];
      return (await promisify(execFile)("psql", flags, { timeout: 5_000 })).stdout;
    };
    const answers = (sql: string) =>
      waitFor(() => query(sql).then((text) => ({ text })), { what: "the database", deadline: 60_000, every: 100 });
    await answers("create table if not exists r (n int)");

    const told: number[] = [];
    const end = Date.now() + SECONDS * 1000;
    const client = (async () => {
      for (let n = 1; Date.now() < end; n++) {
        // Not told of one that failed: it may be there or not.
        await query(`insert into r values (${n})`).then(
          () => told.push(n),
          () => pause(50),
        );
      }
    })();
    let lost = 0;
    while (Date.now() < end) {
      await pause(1500 + random() * 2500);
      const host = (await world.app("/db")).tasks.find(({ state }) => state === "TASK_RUNNING")?.host;
      if (host === undefined) continue;
      await world.sim.cli("agent", "kill", host);
      lost++;
      await world.sim.cli("agent", "start", host);
    }
    await client;
    const there = new Set((await answers("select n from r")).text.split("\n").map(Number));
    const missing = told.filter((n) => !there.has(n));
    t.same(missing, [], `${told.length} records, ${lost} hosts lost`);
    t.ok(told.length > 10 && lost > 1, `${told.length} records, ${lost} hosts lost`);
    await world.call("DELETE", "/v2/apps/db");
    await waitFor(() => world.mounted().length === 0, { what: "the volume to be given back" });
  },
);
