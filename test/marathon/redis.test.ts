import { execFile } from "node:child_process";
import fs from "node:fs";
import { promisify } from "node:util";
import t from "tap";
import { startDocker } from "../helpers/docker.ts";
import { requiresDocker, requiresTools } from "../helpers/requires.ts";
import { pluginName } from "../helpers/sim.ts";
import { waitFor } from "../helpers/wait.ts";
import { oneWriter, SECONDS, underBlows, witness } from "./kill-run.ts";
import { startWorld } from "./world.ts";

// A database in a DOCKER container of the real engine, on a volume that Docker mounts by its volume driver. Agents are not cut
// off here: their volumes are all the machine's, so nothing would keep two of them from one (README).
const skip = requiresDocker() || requiresTools("redis-check-rdb", "redis-cli");
const IMAGE = "redis:test";

/** The second of two writers would not get the lock. */
const COMMAND = `
  flock -n 9 || { echo refused >> /data/refused; exit 1; }
  ${witness("/data/writers")}
  exec redis-server --bind 127.0.0.1 --port $PORT0 --dir /data --save "" --appendonly yes --appendfsync always
`;

t.test(
  "Redis under blows: every acknowledged number is there, and there never are two writers",
  { skip, timeout: 240_000 + SECONDS * 1000 },
  async (t) => {
    const engine = await startDocker(t);
    // One program under several names.
    const dir = fs.mkdtempSync(`${engine.dir}/redis-`);
    fs.copyFileSync("/usr/bin/redis-check-rdb", `${dir}/redis-server`);
    await engine.importImage({ name: IMAGE, programs: [`${dir}/redis-server`, "/usr/bin/flock"] });
    const driver = pluginName();
    const world = await startWorld(t, {
      env: { DOCKER_HOST: engine.env["DOCKER_HOST"] as string },
      pluginNames: [driver],
    });
    const app = {
      id: "/db",
      cmd: `exec 9>>/data/lock; ${COMMAND}`,
      cpus: 0.5,
      mem: 128,
      container: {
        type: "DOCKER",
        docker: { image: IMAGE, network: "HOST" },
        volumes: [
          {
            containerPath: "/data",
            mode: "RW",
            external: { name: "redis", provider: "dvdi", options: { "dvdi/driver": driver } },
          },
        ],
      },
      upgradeStrategy: { minimumHealthCapacity: 0, maximumOverCapacity: 0 },
      backoffSeconds: 1,
      backoffFactor: 1,
    };
    t.equal((await world.call("POST", "/v2/apps", app)).status, 201);
    const redis = async (...words: string[]): Promise<string> => {
      const port = (await world.app("/db")).tasks.find(({ state }) => state === "TASK_RUNNING")?.ports[0] ?? 1;
      return (await promisify(execFile)("redis-cli", ["-e", "-p", String(port), ...words], { timeout: 5_000 })).stdout;
    };
    await underBlows(t, world, {
      id: "/db",
      blows: ["host lost", "agent killed", "daemon killed"],
      numbers: {
        add: (n) => redis("RPUSH", "n", String(n)),
        all: async () => (await redis("LRANGE", "n", "0", "-1")).split("\n").map(Number),
      },
    });
    const task = await world.runs("/db", 60_000);
    const [container = ""] = (await engine.docker("ps", "--quiet", "--filter", `label=MESOS_TASK_ID=${task.id}`)).split(
      "\n",
    );
    t.notMatch(await engine.docker("exec", container, "ls", "/data"), /refused/, "the lock was never held by another");
    oneWriter(t, await engine.docker("exec", container, "cat", "/data/writers"));
    await world.call("DELETE", "/v2/apps/db");
    await waitFor(async () => (await engine.docker("ps", "--all", "--quiet")) === "", { what: "the container to go" });
  },
);
