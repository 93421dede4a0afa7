import fs from "node:fs";
import path from "node:path";
import t from "tap";
import { IMAGE, startDocker } from "../helpers/docker.ts";
import { requiresDocker } from "../helpers/requires.ts";
import { pluginName } from "../helpers/sim.ts";
import { waitFor } from "../helpers/wait.ts";
import { startWorld } from "./world.ts";

const skip = requiresDocker();

/** The reference architecture's DOCKER definition, with the image that there is here. */
const definition = (id: string, driver: string, more: object = {}) => ({
  id,
  instances: 1,
  cpus: 0.1,
  mem: 32,
  cmd: 'echo "start $MESOS_TASK_ID" >> /data/test-rexray-volume/log; cat /data/test-rexray-volume/log; exec tail -f /dev/null',
  container: {
    type: "DOCKER",
    docker: { image: IMAGE, network: "HOST", forcePullImage: true },
    volumes: [
      {
        containerPath: "/data/test-rexray-volume",
        external: { name: "my-test-vol", provider: "dvdi", options: { "dvdi/driver": driver } },
        mode: "RW",
      },
    ],
  },
  upgradeStrategy: { minimumHealthCapacity: 0, maximumOverCapacity: 0 },
  taskKillGracePeriodSeconds: 1,
  ...more,
});

t.test(
  "the reference DOCKER definition runs on the real engine, with its data after a restart",
  { skip, timeout: 180_000 },
  async (t) => {
    const engine = await startDocker(t);
    const driver = pluginName();
    const world = await startWorld(t, {
      env: { DOCKER_HOST: engine.env["DOCKER_HOST"] as string },
      pluginNames: [driver],
    });
    t.equal((await world.call("POST", "/v2/apps", definition("/test-docker", driver))).status, 201);
    const first = await world.runs("/test-docker", 60_000);
    await world.said(first, /^start \S+\._app\.1$/m);
    t.match(await engine.docker("volume", "ls", "--format", "{{.Driver}} {{.Name}}"), `${driver} my-test-vol`);
    t.equal((await world.call("POST", "/v2/apps/test-docker/restart")).status, 200);
    const second = await waitFor(
      async () =>
        (await world.app("/test-docker")).tasks.find(({ id, state }) => id !== first.id && state === "TASK_RUNNING"),
      { what: "another task", deadline: 30_000 },
    );
    await world.said(second, new RegExp(`start ${first.id}\nstart ${second.id}`));
    await world.runs("/test-docker");

    await world.call("PUT", "/v2/apps/test-docker", { instances: 0 });
    await waitFor(async () => (await engine.docker("ps", "--all", "--quiet")) === "", { what: "none to be left" });
    await world.call("PUT", "/v2/apps/test-docker?force=true", { instances: 1 });
    const third = await world.runs("/test-docker", 30_000);
    await world.said(third, new RegExp(`start ${second.id}\nstart ${third.id}`));

    const agents = await world.sim.json<{ name: string; pid: number }[]>("agent", "ls");
    process.kill(agents.find(({ name }) => name === third.host)?.pid as number, "SIGKILL");
    await world.sim.restart("SIGKILL");
    t.equal((await world.runs("/test-docker", 30_000)).id, third.id, "agent and daemon find it again");
    await world.call("DELETE", "/v2/apps/test-docker");
    await waitFor(async () => (await engine.docker("ps", "--all", "--quiet")) === "", {
      what: "the container to be gone",
    });

    await t.test("75 a relative path is below the sandbox", async (t) => {
      const relative = definition("/relative", driver, {
        cmd: "echo here > /mnt/mesos/sandbox/data/f; cat /mnt/mesos/sandbox/data/f; exec tail -f /dev/null",
      });
      Object.assign(relative.container.volumes[0] as object, { containerPath: "data" });
      t.equal((await world.call("POST", "/v2/apps", relative)).status, 201);
      await world.said(await world.runs("/relative", 60_000), /^here$/m);
      await world.call("DELETE", "/v2/apps/relative");
    });

    await t.test("81 volumes by parameters: both instances have them, and are well by a check inside", async (t) => {
      const parameters = [
        { key: "volume-driver", value: driver },
        { key: "volume", value: "by-parameter:/data" },
        { key: "env", value: "SAID=81" },
      ];
      const plain = {
        id: "/parameters",
        cmd: 'echo "$SAID $MESOS_TASK_ID" >> /data/f; exec tail -f /dev/null',
        instances: 2,
        cpus: 0.1,
        mem: 32,
        container: { type: "DOCKER", docker: { image: IMAGE, network: "HOST", parameters } },
        healthChecks: [
          {
            protocol: "COMMAND",
            command: { value: "test $(wc -l < /data/f) -ge 2" },
            intervalSeconds: 1,
            delaySeconds: 0,
          },
        ],
      };
      t.equal((await world.call("POST", "/v2/apps", plain)).status, 201, "no rules of external volumes");
      await world.running("/parameters", 2, 60_000);
      await world.call("DELETE", "/v2/apps/parameters");
      await waitFor(async () => (await engine.docker("ps", "--all", "--quiet")) === "", {
        what: "the containers to be gone",
        deadline: 30_000,
      });
    });

    await t.test("a container with a network of its own is shown with its address", async (t) => {
      if ((await engine.run(["network", "create", "own"])).code !== 0) return void t.comment("no bridges here");
      const containers = async () =>
        (await engine.docker("ps", "--all", "--quiet", "--filter", "network=own")).split("\n").filter(Boolean);
      t.teardown(async () => {
        await engine.run(["rm", "--force", ...(await containers())]);
        await engine.docker("network", "rm", "own");
      });
      const own = {
        id: "/own",
        cmd: "exec tail -f /dev/null",
        cpus: 0.1,
        mem: 32,
        networks: [{ mode: "container", name: "own" }],
        container: { type: "DOCKER", docker: { image: IMAGE } },
        taskKillGracePeriodSeconds: 1,
      };
      t.equal((await world.call("POST", "/v2/apps", own)).status, 201);
      await world.runs("/own", 60_000);
      const address = "{{.NetworkSettings.Networks.own.IPAddress}}";
      const ipAddress = await engine.docker("inspect", "--format", address, ...(await containers()));
      const { tasks } = (await world.call("GET", "/v2/apps/own/tasks")).body;
      t.match(ipAddress, /^[\d.]+$/);
      t.same(tasks[0].ipAddresses, [{ ipAddress, protocol: "IPv4" }]);
      await world.call("DELETE", "/v2/apps/own");
      await waitFor(async () => (await containers()).length === 0, { what: "the container to be gone" });
    });

    await t.test("76 two drivers in one container", async (t) => {
      const two = definition("/two", driver);
      two.container.volumes.push({
        ...two.container.volumes[0],
        containerPath: "/other",
        external: { name: "other", provider: "dvdi", options: { "dvdi/driver": "another" } },
      } as never);
      t.equal((await world.call("POST", "/v2/apps", two)).status, 201);
      const failure = await waitFor(async () => (await world.app("/two")).lastTaskFailure, {
        what: "a failure",
        deadline: 30_000,
      });
      t.match(failure.message, /Only one volume driver is supported$/);
      await world.call("DELETE", "/v2/apps/two");
      await waitFor(async () => (await world.call("GET", "/v2/deployments")).body.length === 0, {
        what: "the end of it",
      });
    });
  },
);

t.test(
  "the reference architecture's own file runs as it stands, where its image and its driver are to be had",
  { skip, timeout: 120_000 },
  async (t) => {
    // Docker looks for drivers in one place; somebody else may have that name there.
    if (fs.existsSync("/run/docker/plugins/rexray.sock")) return void t.comment("this machine has a driver rexray");
    const engine = await startDocker(t);
    await engine.importImage({ name: "alpine:3.1" });
    const env = { DOCKER_HOST: engine.env["DOCKER_HOST"] as string };
    const world = await startWorld(t, { env, pluginNames: ["rexray"] });
    const text = fs.readFileSync(
      path.resolve(import.meta.dirname, "../../examples/marathon/marathon-docker-container.json"),
      "utf8",
    );
    t.equal((await world.call("POST", "/v2/apps", text)).status, 201);
    const task = await world.runs("/test-docker", 60_000);
    const container = await engine.docker("ps", "--quiet", "--filter", `label=MESOS_TASK_ID=${task.id}`);
    t.match(await engine.docker("exec", container, "mount"), / on \/data\/test-rexray-volume type ext4/);
    t.match(await engine.docker("volume", "ls", "--format", "{{.Driver}} {{.Name}}"), "rexray my-test-vol");

    // A container with a network of its own (this engine has no bridge): health is looked at inside, where it listens.
    const serving = {
      id: "/inside",
      cmd: "mkdir -p /tmp/w; echo hi > /tmp/w/index.html; exec httpd -f -p 127.0.0.1:8099 -h /tmp/w",
      cpus: 0.1,
      mem: 32,
      networks: [{ mode: "container", name: "none" }],
      container: { type: "DOCKER", docker: { image: "alpine:3.1" }, portMappings: [{ containerPort: 8099 }] },
      taskKillGracePeriodSeconds: 1,
    };
    const fast = { gracePeriodSeconds: 30, intervalSeconds: 1, timeoutSeconds: 5, delaySeconds: 0 };
    for (const [id, check] of [
      ["/http", { protocol: "MESOS_HTTP", path: "/", portIndex: 0 }],
      ["/tcp", { protocol: "MESOS_TCP", portIndex: 0 }],
    ] as const)
      t.equal(
        (await world.call("POST", "/v2/apps", { ...serving, id, healthChecks: [{ ...fast, ...check }] })).status,
        201,
      );
    for (const id of ["/http", "/tcp"]) {
      await world.runs(id, 60_000);
      t.match((await world.call("GET", `/v2/apps${id}`)).body.app, { tasksHealthy: 1 }, `${id} is well`);
    }
    for (const id of ["/test-docker", "/http", "/tcp"]) await world.call("DELETE", `/v2/apps${id}`);
    await waitFor(async () => (await engine.docker("ps", "--all", "--quiet")) === "", {
      what: "the containers to be gone",
      deadline: 30_000,
    });
  },
);

t.test("without a Docker engine it waits, and says why; others run", { skip, timeout: 60_000 }, async (t) => {
  const world = await startWorld(t, { env: { DOCKER_HOST: "unix:///nowhere/docker.sock" } });
  await world.call("POST", "/v2/apps", definition("/test-docker", "rexray"));
  const { queue } = (await world.call("GET", "/v2/queue")).body;
  t.match(queue, [{ app: { id: "/test-docker" }, count: 1 }]);
  await world.call("POST", "/v2/apps", { id: "/plain", cmd: "sleep 1000", cpus: 0.1, mem: 16 });
  await world.runs("/plain");
});
