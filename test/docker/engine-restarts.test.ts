import fs from "node:fs";
import t from "tap";
import { IMAGE, startDocker } from "../helpers/docker.ts";
import { requiresDocker, requiresFuse, requiresRoot } from "../helpers/requires.ts";
import { startSim } from "../helpers/sim.ts";
import { waitFor } from "../helpers/wait.ts";

// Rows of docker-volume-plugin.md 15 about an engine that starts anew, and about services.
const skip = requiresRoot() || requiresFuse() || requiresDocker();
const CONFIG =
  "simulator:\n  granularity: 64MB\nlibstorage:\n  integration:\n    volume:\n      operations:\n        create: {default: {size: 64MB}}\n";
const NET = ["--network", "none", "--stop-signal", "KILL"];
const LINE = ["sh", "-c", "echo x >> /data/f; exec sleep 1000"];

t.test("an engine with live-restore", { skip, timeout: 280_000 }, async (t) => {
  const sim = await startSim(t, { config: CONFIG });
  const engine = await startDocker(t, { args: ["--live-restore"] });
  const docker = (...args: string[]) => engine.docker(...args);
  const mounted = (name: string) =>
    fs.readFileSync("/proc/self/mountinfo", "utf8").includes(` ${sim.stateDir}/volumes/${name} `);
  const run = (name: string, ...options: string[]) => {
    const volume = ["--volume-driver", sim.driver, "--volume", `${name}:/data`];
    return docker("run", "--detach", "--name", `c-${name}`, ...NET, ...options, ...volume, IMAGE, ...LINE);
  };

  await t.test("52 restarted under a running container, which is stopped then: unmounted", async (t) => {
    await run("lives");
    await engine.restart();
    await docker("exec", "c-lives", "sh", "-c", "echo y >> /data/f; sync");
    t.ok(mounted("lives"));
    await docker("stop", "c-lives");
    t.notOk(mounted("lives"));
    await docker("rm", "c-lives");
    await docker("volume", "rm", "lives");
  });

  await t.test("54 an engine that boots while the plugin still starts: the container comes up", async (t) => {
    await run("boots", "--restart", "always");
    await docker("kill", "c-boots").catch(() => undefined);
    await engine.stop();
    await sim.kill("SIGTERM");
    const boot = engine.start();
    await new Promise((resolve) => setTimeout(resolve, 5000));
    await sim.start();
    await boot;
    const running = async () => (await docker("inspect", "--format", "{{.State.Running}}", "c-boots")) === "true";
    await waitFor(running, { what: "the container to run", deadline: 60_000 });
    t.match(await docker("volume", "ls", "--quiet"), /boots/);
    t.equal(await docker("exec", "c-boots", "head", "-n", "1", "/data/f"), "x");
    await docker("rm", "--force", "c-boots");
    await docker("volume", "rm", "boots");
  });
});

t.test("a swarm of one node", { skip, timeout: 280_000 }, async (t) => {
  const sim = await startSim(t, { config: CONFIG });
  const engine = await startDocker(t);
  const docker = (...args: string[]) => engine.docker(...args);
  await docker("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:0");
  const tasks = (format: string) => docker("service", "ps", "--no-trunc", "--format", format, "db");
  const lines = async () => {
    const id = (await docker("ps", "--quiet", "--filter", "label=com.docker.swarm.service.name=db")).split("\n")[0];
    return id ? engine.run(["exec", id, "wc", "-l", "/data/f"]).then(({ stdout }) => stdout.trim()) : "";
  };

  await t.test("67 a service waits for the plugin, and runs once that has been used", async (t) => {
    const mount = `type=volume,source=db,target=/data,volume-driver=${sim.driver}`;
    const where = ["--network", "host", "--detach", "--stop-grace-period", "0s"];
    await docker("service", "create", "--name", "db", ...where, "--mount", mount, IMAGE, ...LINE);
    await waitFor(async () => /missing plugin/.test(await tasks("{{.Error}}")), { what: "the service to wait" });
    await docker("volume", "create", "--driver", sim.driver, "first-use");
    await waitFor(async () => /^Running/.test(await tasks("{{.CurrentState}}")), {
      what: "the service to run",
      deadline: 60_000,
    });
    t.equal(await lines(), "1 /data/f");
  });

  await t.test("68 scheduled again on the same node, it finds its data", async (t) => {
    await docker("service", "update", "--force", "--detach", "db");
    await waitFor(async () => (await lines()) === "2 /data/f", { what: "the second line", deadline: 60_000 });
    await docker("service", "rm", "db");
    await waitFor(async () => (await docker("ps", "--all", "--quiet")) === "", { what: "the tasks to go" });
    await docker("volume", "rm", "db", "first-use");
    t.equal(await docker("volume", "ls", "--quiet"), "");
  });

  await t.test(
    "as with compose: options, two services on one volume, a lost node, again on the same data",
    async (t) => {
      const mount = `type=volume,source=shared,target=/data,volume-driver=${sim.driver},volume-opt=size=128MB`;
      const where = ["--network", "host", "--detach", "--stop-grace-period", "0s"];
      const up = async (...services: string[]) => {
        for (const name of services)
          await docker("service", "create", "--name", name, ...where, "--mount", mount, IMAGE, "sleep", "1000");
      };
      const container = async (service: string) =>
        (await docker("ps", "--quiet", "--filter", `label=com.docker.swarm.service.name=${service}`)).split("\n")[0];
      const inside = async (service: string, command: string) => {
        const found = { what: `${service} to run`, deadline: 60_000 };
        return docker("exec", (await waitFor(() => container(service), found)) ?? "", "sh", "-c", command);
      };
      const down = async (...services: string[]) => {
        await docker("service", "rm", ...services);
        await waitFor(async () => (await docker("ps", "--all", "--quiet")) === "", { what: "the tasks to go" });
      };
      await up("writer", "reader");
      await inside("writer", "echo one >> /data/f; sync");
      t.equal(await inside("reader", "cat /data/f"), "one");
      t.match(await sim.json("volume", "inspect", "shared"), { sizeBytes: 128 * 1024 ** 2 });
      t.equal((await sim.cli("sds", "stop", "sds-2")).code, 0);
      await inside("writer", "echo two >> /data/f; sync");
      t.equal(await inside("reader", "cat /data/f"), "one\ntwo");
      t.equal((await sim.cli("sds", "start", "sds-2", "--wait")).code, 0);
      await down("writer", "reader");
      await up("again");
      t.equal(await inside("again", "cat /data/f"), "one\ntwo");
      await down("again");
      await docker("volume", "rm", "shared");
    },
  );
  await docker("swarm", "leave", "--force");
});
