import { execFile } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import t from "tap";
import { requiresFuse, requiresTools } from "../helpers/requires.ts";
import { waitFor } from "../helpers/wait.ts";
import { oneWriter, SECONDS, underBlows, witness } from "./kill-run.ts";
import { startWorld } from "./world.ts";

// A database in a MESOS container, a client that writes numbered records all the time; hosts, agents and the daemon die, agents
// are cut off. What the client was told is in the database at the end, and there never were two writers.
const VERSIONS = "/usr/lib/postgresql";
const bin = fs.existsSync(VERSIONS) ? path.join(VERSIONS, fs.readdirSync(VERSIONS).at(-1) as string, "bin") : "";
const skip = requiresFuse() || requiresTools("psql", "setpriv") || (bin === "" && "needs PostgreSQL");
const PREEMPT =
  "libstorage:\n  integration:\n    volume:\n      operations:\n        mount:\n          preempt: true\n";

const COMMAND = `
  ${witness("data/writers")}
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
  "PostgreSQL under blows: every acknowledged record is there, and there never are two writers",
  { skip, timeout: 240_000 + SECONDS * 1000 },
  async (t) => {
    const world = await startWorld(t, { head: PREEMPT });
    // The database's user has to pass through.
    for (let dir = world.sim.stateDir; dir !== "/tmp" && dir !== "/"; dir = path.dirname(dir)) fs.chmodSync(dir, 0o755);
    t.equal((await world.call("POST", "/v2/apps", APP)).status, 201);
    const query = async (sql: string): Promise<string> => {
      const port = (await world.app("/db")).tasks.find(({ state }) => state === "TASK_RUNNING")?.ports[0] ?? 1;
      const flags = ["-h", "127.0.0.1", "-p", String(port), "-U", "t", "-d", "postgres", "-qAt", "-c", sql];
      return (await promisify(execFile)("psql", flags, { timeout: 5_000 })).stdout;
    };
    await waitFor(() => query("create table if not exists r (n int)").then(() => true), {
      what: "the database",
      deadline: 60_000,
      every: 100,
    });
    await underBlows(t, world, {
      id: "/db",
      blows: ["host lost", "agent cut off", "agent killed", "daemon killed"],
      numbers: {
        add: (n) => query(`insert into r values (${n})`),
        all: async () => (await query("select n from r")).split("\n").map(Number),
      },
    });
    const task = await world.runs("/db", 60_000);
    const mounted = world.mounted().find((point) => point.includes(`/${task.host}/`));
    oneWriter(t, fs.readFileSync(path.join(mounted as string, "data/writers"), "utf8"));
    await world.call("DELETE", "/v2/apps/db");
    await waitFor(() => world.mounted().length === 0, { what: "the volume to be given back" });
  },
);
