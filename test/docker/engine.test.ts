import fs from "node:fs";
import path from "node:path";
import t from "tap";
import { type DockerEngine, IMAGE, startDocker } from "../helpers/docker.ts";
import { call } from "../helpers/plugin-client.ts";
import { requiresDocker, requiresFuse, requiresRoot } from "../helpers/requires.ts";
import { output } from "../helpers/run.ts";
import { type Sim, startSim } from "../helpers/sim.ts";
import { waitFor } from "../helpers/wait.ts";

// Rows of docker-volume-plugin.md 15 that need an engine, with a real one.
const skip = requiresRoot() || requiresFuse() || requiresDocker();
const CONFIG =
  "simulator:\n  granularity: 64MB\nlibstorage:\n  integration:\n    volume:\n      operations:\n        create: {default: {size: 64MB}}\n";

const mounted = (sim: Sim, name: string) =>
  fs.readFileSync("/proc/self/mountinfo", "utf8").includes(` ${sim.stateDir}/volumes/${name} `);
const loops = (sim: Sim) =>
  fs.readdirSync("/sys/block").filter((name) => {
    const file = `/sys/block/${name}/loop/backing_file`;
    return fs.existsSync(file) && fs.readFileSync(file, "utf8").startsWith(sim.dir);
  }).length;
const NET = ["--network", "none", "--stop-signal", "KILL"];

t.test("a real engine", { skip, timeout: 280_000 }, async (t) => {
  const sim = await startSim(t, { config: CONFIG });
  const engine: DockerEngine = await startDocker(t);
  const docker = (...args: string[]) => engine.docker(...args);
  const create = (name: string, ...options: string[]) =>
    docker("volume", "create", "--driver", sim.driver, ...options, name);
  const sh = (volume: string, command: string) =>
    docker("run", "--rm", ...NET, "--volume", `${volume}:/data`, IMAGE, "sh", "-c", command);

  await t.test("the user's first minute: create, df, write, read, ls, inspect, rm", async (t) => {
    await create("pg", "--opt", "size=128MB");
    t.match(await sh("pg", "df -h /data; echo hi > /data/f"), /\/dev\/loop\d+ +\d+/);
    t.equal(await sh("pg", "cat /data/f"), "hi");
    t.match(await docker("volume", "ls"), new RegExp(`${sim.driver} +pg`));
    const [volume] = JSON.parse(await docker("volume", "inspect", "pg")) as [
      { Status: { name: string; type: string }; Scope: string },
    ];
    t.match(volume, { Scope: "global", Status: { name: "pg", type: "pool1" } });
    await docker("volume", "rm", "pg");
    t.notMatch(await docker("volume", "ls"), /\bpg\b/, "28");
  });

  await t.test("a volume is made of a snapshot with -o, while a container writes to what it is of", async (t) => {
    await create("source");
    const write = "echo kept > /data/f; while :; do date >> /data/dates; sleep 0.1; done";
    await docker("run", "--detach", "--name", "writer", ...NET, "--volume", "source:/data", IMAGE, "sh", "-c", write);
    await waitFor(async () => (await engine.run(["exec", "writer", "test", "-s", "/data/dates"])).code === 0, {
      what: "the first date",
    });
    t.equal((await sim.cli("snapshot", "create", "source=frozen")).code, 0);
    await docker("exec", "writer", "sh", "-c", "echo changed > /data/f");
    await docker("volume", "create", "-d", sim.driver, "-o", "snapshotName=frozen", "old");
    t.equal(await sh("old", "cat /data/f"), "kept");
    await docker("rm", "--force", "writer");
    await docker("volume", "rm", "source", "frozen", "old");
  });

  await t.test("21, 33 errors reach the user as they are", async (t) => {
    t.match((await engine.run(["volume", "inspect", "none"])).stderr, /no such volume/i);
    const { code, stderr } = await engine.run([
      "volume",
      "create",
      "--driver",
      sim.driver,
      "--opt",
      "size=16xb",
      "bad",
    ]);
    t.not(code, 0);
    t.match(stderr, /size "16xb" is not a size: a size is a whole number of GB/);
  });

  await t.test("25 a name that the plugin has is not given to another driver", async (t) => {
    await create("taken");
    t.match((await engine.run(["volume", "create", "--driver", "local", "taken"])).stderr, /must be unique|conflicts/);
    await docker("volume", "rm", "taken");
  });

  await t.test("27 a volume that only the plugin made is seen and keeps labels given later", async (t) => {
    await call(sim.socket, "Create", { Name: "outside" });
    t.match(await docker("volume", "ls"), /outside/);
    await docker("volume", "create", "--driver", sim.driver, "--label", "a=b", "outside");
    t.equal(await docker("volume", "inspect", "--format", "{{.Labels.a}}", "outside"), "b");
    await docker("volume", "rm", "outside");
  });

  await t.test("30 a mounted volume cannot be removed, and nothing happens to it", async (t) => {
    await create("busy");
    await docker("run", "--detach", "--name", "holder", ...NET, "--volume", "busy:/data", IMAGE, "sleep", "1000");
    t.match((await engine.run(["volume", "rm", "busy"])).stderr, /in use/);
    // Past the engine's own list: the plugin is the last guard.
    await t.rejects(call(sim.socket, "Remove", { Name: "busy" }), /in use/);
    await docker("exec", "holder", "sh", "-c", "echo on > /data/f; sync");
    t.equal(await docker("exec", "holder", "cat", "/data/f"), "on");
    await docker("rm", "--force", "holder");
    await docker("volume", "rm", "busy");
  });

  await t.test("34 an anonymous volume goes with its container", async (t) => {
    await docker("run", "--rm", ...NET, "--volume-driver", sim.driver, "--volume", "/data", IMAGE, "true");
    t.equal(await docker("volume", "ls", "--quiet"), "");
  });

  await t.test("36 what the image has is copied into a new volume, once", async (t) => {
    await docker("run", "--name", "maker", ...NET, IMAGE, "sh", "-c", "mkdir /content; echo image > /content/f");
    await docker("commit", "maker", "content:test");
    await docker("rm", "maker");
    await create("copied");
    const run = (command: string) =>
      docker("run", "--rm", ...NET, "--volume", "copied:/content", "content:test", "sh", "-c", command);
    t.equal(await run("cat /content/f; echo mine > /content/f"), "image");
    t.equal(await run("cat /content/f"), "mine");
    await docker("volume", "rm", "copied");
  });

  await t.test("37, 46 two containers share a volume, one of them read-only; it is unmounted after both", async (t) => {
    await create("shared");
    await docker("run", "--detach", "--name", "one", ...NET, "--volume", "shared:/data", IMAGE, "sleep", "1000");
    await docker("run", "--detach", "--name", "two", ...NET, "--volume", "shared:/data:ro", IMAGE, "sleep", "1000");
    await docker("exec", "one", "sh", "-c", "echo shared > /data/f");
    t.equal(await docker("exec", "two", "cat", "/data/f"), "shared");
    t.not((await engine.run(["exec", "two", "touch", "/data/g"])).code, 0);
    await docker("rm", "--force", "one");
    t.ok(mounted(sim, "shared"));
    t.equal(await docker("exec", "two", "cat", "/data/f"), "shared");
    await docker("rm", "--force", "two");
    t.notOk(mounted(sim, "shared"));
    t.equal(loops(sim), 0);
    await docker("volume", "rm", "shared");
  });

  await t.test("39 docker cp beside a running container, then a write inside", async (t) => {
    await create("cp");
    await docker("run", "--detach", "--name", "copy", ...NET, "--volume", "cp:/data", IMAGE, "sleep", "1000");
    await docker("exec", "copy", "sh", "-c", "echo first > /data/f");
    const target = path.join(engine.dir, "copied");
    await docker("cp", "copy:/data/f", target);
    t.equal(fs.readFileSync(target, "utf8"), "first\n");
    await docker("exec", "copy", "sh", "-c", "echo second > /data/f; sync");
    t.equal(await docker("exec", "copy", "cat", "/data/f"), "second");
    await docker("stop", "copy");
    t.notOk(mounted(sim, "cp"));
    t.equal(loops(sim), 0);
    await docker("rm", "copy");
    await docker("volume", "rm", "cp");
  });

  await t.test("44 a container restarted ten times has the same data and one device", async (t) => {
    await create("again");
    await docker(
      "run",
      "--detach",
      "--name",
      "again",
      ...NET,
      "--volume",
      "again:/data",
      IMAGE,
      "sh",
      "-c",
      "echo x >> /data/f; exec sleep 1000",
    );
    for (let i = 0; i < 10; i++) await docker("restart", "--time", "0", "again");
    const lines = () => docker("exec", "again", "wc", "-l", "/data/f");
    await waitFor(async () => (await lines()) === "11 /data/f", { what: "eleven lines" });
    t.equal(loops(sim), 1);
    await docker("rm", "--force", "again");
    t.equal(loops(sim), 0);
    await docker("volume", "rm", "again");
  });

  await t.test(
    "47 a foreign namespace that holds the device: unmount succeeds, nothing is detached, one device",
    async (t) => {
      await create("held");
      const { Mountpoint } = await call<{ Mountpoint: string }>(sim.socket, "Mount", { Name: "held", ID: "A" });
      const holder = (await import("node:child_process")).spawn(
        "unshare",
        ["--mount", "--propagation", "private", "sh", "-c", "echo ready; exec sleep 1000"],
        { stdio: ["ignore", "pipe", "ignore"] },
      );
      await new Promise((resolve) => holder.stdout.once("data", resolve));
      await call(sim.socket, "Unmount", { Name: "held", ID: "A" });
      t.equal(loops(sim), 1);
      await t.rejects(call(sim.socket, "Remove", { Name: "held" }), /in use/);
      t.equal(
        (await call<{ Mountpoint: string }>(sim.socket, "Mount", { Name: "held", ID: "B" })).Mountpoint,
        Mountpoint,
      );
      t.equal(loops(sim), 1);
      holder.kill("SIGKILL");
      await new Promise((resolve) => holder.once("close", resolve));
      await call(sim.socket, "Unmount", { Name: "held", ID: "B" });
      await waitFor(() => loops(sim) === 0, { what: "the device to be let go" });
      await docker("volume", "rm", "held");
    },
  );

  await t.test("48 the plugin is killed under a running container and started again", async (t) => {
    await create("survives");
    await docker("run", "--detach", "--name", "survivor", ...NET, "--volume", "survives:/data", IMAGE, "sleep", "1000");
    await sim.restart("SIGKILL");
    await docker("exec", "survivor", "sh", "-c", "echo on > /data/f; sync");
    t.match(await docker("volume", "inspect", "survives"), /survives/);
    await docker("cp", "survivor:/data/f", path.join(engine.dir, "survived"));
    t.equal(await docker("exec", "survivor", "cat", "/data/f"), "on");
    await docker("stop", "survivor");
    t.notOk(mounted(sim, "survives"));
    await docker("rm", "survivor");
    await docker("volume", "rm", "survives");
  });

  await t.test("49 the engine is restarted: labels and volumes are kept", async (t) => {
    await create("labelled", "--label", "a=b");
    await engine.restart();
    t.equal(await docker("volume", "inspect", "--format", "{{.Labels.a}}", "labelled"), "b");
    await docker("volume", "rm", "labelled");
  });

  await t.test(
    "50, 51 the engine is killed: the container starts again, and without it the volume can be removed",
    async (t) => {
      await create("crash");
      await docker(
        "run",
        "--detach",
        "--name",
        "crash",
        ...NET,
        "--volume",
        "crash:/data",
        IMAGE,
        "sh",
        "-c",
        "echo x >> /data/f; exec sleep 1000",
      );
      await engine.restart("SIGKILL");
      await docker("start", "crash");
      await waitFor(async () => (await docker("exec", "crash", "wc", "-l", "/data/f")) === "2 /data/f", {
        what: "two lines",
      });
      await docker("stop", "crash");
      t.notOk(mounted(sim, "crash"), "one reference was left, and it is gone");
      await docker("start", "crash");
      await engine.restart("SIGKILL");
      await docker("rm", "--force", "crash");
      await docker("volume", "rm", "crash");
      await waitFor(() => loops(sim) === 0, { what: "the device to be let go" });
    },
  );

  await t.test("69 compose: up, up, restart, down, up keep the data; down -v removes it", async (t) => {
    const dir = path.join(engine.dir, "project");
    fs.mkdirSync(dir);
    const file = path.join(dir, "docker-compose.yml");
    fs.writeFileSync(
      file,
      `version: "2.4"\nservices:\n  app:\n    image: ${IMAGE}\n    network_mode: none\n    stop_signal: KILL\n    command: sh -c "echo x >> /data/f; exec sleep 1000"\n    volumes: ["db:/data"]\nvolumes:\n  db:\n    driver: ${sim.driver}\n    driver_opts: {size: 64MB}\n`,
    );
    const compose = (...args: string[]) => output("docker-compose", ["--file", file, ...args], { env: engine.env });
    await compose("up", "--detach");
    await compose("up", "--detach");
    await compose("restart", "--timeout", "0");
    await compose("down", "--timeout", "0");
    await compose("up", "--detach");
    await waitFor(async () => (await compose("exec", "-T", "app", "wc", "-l", "/data/f")).startsWith("3 "), {
      what: "three lines",
    });
    await compose("down", "--volumes", "--timeout", "0");
    t.equal(await docker("volume", "ls", "--quiet"), "");
  });
});
