import path from "node:path";
import t from "tap";
import { IMAGE, startDocker } from "../helpers/docker.ts";
import { requiresDocker, requiresTools } from "../helpers/requires.ts";
import { run } from "../helpers/run.ts";
import { pluginName, startSim } from "../helpers/sim.ts";
import { waitFor } from "../helpers/wait.ts";

// The compose files of examples/, as they stand, by the real docker-compose.
const skip = requiresDocker() || requiresTools("docker-compose");
const ROOT = path.resolve(import.meta.dirname, "../..");

t.test("the examples for docker-compose", { skip, timeout: 280_000 }, async (t) => {
  const driver = pluginName();
  const engine = await startDocker(t);
  const env = { ...engine.env, IMAGE, DRIVER: driver, COMPOSE_PROJECT_NAME: "examples" };
  const sim = await startSim(t, { config: "simulator:\n  granularity: 64MB\n", pluginNames: [driver], env });
  const compose = async (file: string, ...args: string[]) => {
    const words = ["--file", `examples/compose/${file}`, ...args];
    const { code, stdout, stderr } = await run("docker-compose", words, { cwd: ROOT, env: { ...process.env, ...env } });
    if (code !== 0) t.fail(`${args.join(" ")}: ${stderr}`);
    return stdout;
  };
  const volumes = async () => (await engine.docker("volume", "ls", "--quiet")).split("\n").filter(Boolean);

  await t.test("a volume of one's own: up, down, up again with the data, down -v", async (t) => {
    const log = () => compose("database.yml", "exec", "-T", "db", "cat", "/data/log");
    await compose("database.yml", "up", "--detach");
    await waitFor(async () => (await log()) === "start\n", { what: "the first start" });
    await compose("database.yml", "down");
    t.same(await volumes(), ["examples_data"]);
    await compose("database.yml", "up", "--detach");
    await waitFor(async () => (await log()) === "start\nstart\n", {
      what: "the second start, on the data of the first",
    });
    await compose("database.yml", "down", "--volumes");
    t.same(await volumes(), []);
  });

  await t.test("two services on an external volume", async (t) => {
    await engine.docker("volume", "create", "--driver", driver, "--opt", "size=1", "shared");
    await compose("shared.yml", "up", "--detach");
    await waitFor(async () => /seen/.test(await compose("shared.yml", "logs", "reader")), {
      what: "the reader to read",
    });
    await compose("shared.yml", "down", "--volumes");
    t.same(await volumes(), ["shared"], "it outlives down -v");
    t.match((await sim.cli("volume", "ls")).stdout, /shared +ok +1 GiB +- /, "and is unmounted");
    await engine.docker("volume", "rm", "shared");
  });

  await t.test("a CI job in which a node is lost", async (t) => {
    const program = path.join(ROOT, "dist/bin/rexray-sim.js");
    const result = await run(process.execPath, [program, "scenario", "run", "examples/compose/node-loss.yml"], {
      cwd: ROOT,
      env: { ...sim.env, ...env },
    });
    t.equal(result.code, 0, result.stdout + result.stderr);
    t.same(await volumes(), []);
  });
});
