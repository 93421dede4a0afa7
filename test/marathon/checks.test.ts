import { execFileSync } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import type net from "node:net";
import path from "node:path";
import t from "tap";
import { kill } from "../../src/lib/kill.ts";
import { requiresFuse, requiresTools } from "../helpers/requires.ts";
import { tempDir } from "../helpers/temp-dir.ts";
import { waitFor } from "../helpers/wait.ts";
import { startWorld } from "./world.ts";

// Health and readiness of tasks (spec/marathon.md 6.4, 6.7), and what a task has before it starts (7.3).
const skip = requiresFuse();

/** A server at the task's first port: 200 as long as a file is there. With a key and a certificate it speaks TLS. */
const serve = (file: string, tls = "") =>
  `exec ${process.execPath} -e '${tls === "" ? 'const s = require("http").createServer' : `const t = require("fs").readFileSync("${tls}"), s = (f) => require("https").createServer({ key: t, cert: t }, f)`}; s((q, a) => { a.writeHead(require("fs").existsSync("${file}") ? 200 : 503); a.end("hi"); }).listen(process.env.PORT0)'`;

/** One that listens as long as a file is there. */
const listen = (file: string) =>
  `exec ${process.execPath} -e 'const s = require("net").createServer().listen(process.env.PORT0); setInterval(() => require("fs").existsSync("${file}") || s.close(), 100)'`;

/** Failures before the first success do not count: a busy machine may take its time to start a server. */
const fast = { gracePeriodSeconds: 60, intervalSeconds: 1, timeoutSeconds: 2, delaySeconds: 0 };

t.test(
  "health checks of all kinds: well, ill, killed, replaced",
  { skip: skip || requiresTools("openssl"), timeout: 180_000 },
  async (t) => {
    const dir = tempDir("checks");
    t.teardown(() => fs.rmSync(dir, { recursive: true, force: true }));
    const world = await startWorld(t);
    const kinds: Record<string, object> = {
      http: { protocol: "HTTP", path: "/", maxConsecutiveFailures: 1 },
      mesos: { protocol: "MESOS_HTTP", path: "/", maxConsecutiveFailures: 2 },
      command: { protocol: "COMMAND", command: { value: `test -e ${dir}/$NAME -a "$PWD" = "$MESOS_SANDBOX"` } },
      https: { protocol: "HTTPS", path: "/", maxConsecutiveFailures: 1 },
      mesoshttps: { protocol: "MESOS_HTTPS", path: "/" },
      tcp: { protocol: "TCP", maxConsecutiveFailures: 1 },
      mesostcp: { protocol: "MESOS_TCP" },
    };
    const pem = path.join(dir, "pem");
    const request = [
      "req",
      "-x509",
      "-newkey",
      "rsa:2048",
      "-nodes",
      "-subj",
      "/CN=x",
      "-keyout",
      pem,
      "-out",
      `${pem}.crt`,
    ];
    execFileSync("openssl", request, { stdio: "ignore" });
    fs.appendFileSync(pem, fs.readFileSync(`${pem}.crt`));
    const command = (name: string) => {
      const file = path.join(dir, name);
      return name.endsWith("tcp") ? listen(file) : serve(file, name.endsWith("https") ? pem : "");
    };
    for (const [name, check] of Object.entries(kinds)) {
      fs.writeFileSync(path.join(dir, name), "");
      const app = {
        id: `/${name}`,
        cmd: command(name),
        cpus: 0.1,
        mem: 64,
        env: { NAME: name },
        portDefinitions: [{ port: 0 }],
        healthChecks: [{ maxConsecutiveFailures: 2, ...fast, ...check }],
        backoffSeconds: 1,
      };
      t.equal((await world.call("POST", "/v2/apps", app)).status, 201);
    }
    for (const name of Object.keys(kinds)) {
      const first = await world.runs(`/${name}`, 60_000);
      const { app } = (await world.call("GET", `/v2/apps/${name}`)).body;
      t.match(app, { tasksHealthy: 1, tasksUnhealthy: 0 }, `${name}: well`);
      t.match(app.tasks[0].healthCheckResults[0], {
        alive: true,
        consecutiveFailures: 0,
        instanceId: /^\w+\.instance-/,
      });
      fs.rmSync(path.join(dir, name));
      await waitFor(async () => (await world.app(`/${name}`)).tasks.every(({ id }) => id !== first.id), {
        what: `${name}'s task to be killed`,
      });
      fs.writeFileSync(path.join(dir, name), "");
      t.not((await world.runs(`/${name}`, 60_000)).id, first.id);
    }
  },
);

t.test("119 as many failures as are allowed do not kill, the next one does", { skip, timeout: 60_000 }, async (t) => {
  const world = await startWorld(t);
  const app = {
    id: "/ill",
    cmd: serve("/nonexistent"),
    cpus: 0.1,
    mem: 64,
    portDefinitions: [{ port: 0 }],
    healthChecks: [{ protocol: "HTTP", ...fast, gracePeriodSeconds: 0, maxConsecutiveFailures: 3 }],
    backoffSeconds: 1,
  };
  const events: string[] = [];
  const stop = new AbortController();
  const stream = await fetch(`${world.marathon}/v2/events`, {
    headers: { accept: "text/event-stream" },
    signal: stop.signal,
  });
  const reading = (async () => {
    for await (const part of stream.body ?? []) events.push(Buffer.from(part).toString());
  })().catch(() => undefined);
  await world.call("POST", "/v2/apps", app);
  await waitFor(() => /event: unhealthy_instance_kill_event/.test(events.join("")), { what: "the kill" });
  stop.abort();
  await reading;
  const before = events.join("").split("event: unhealthy_instance_kill_event")[0] ?? "";
  t.equal(before.match(/event: failed_health_check_event/g)?.length, 4);
  t.match(events.join(""), /"reason":"HTTP status 503"/);
});

t.test("a deployment waits until a task is ready, and shows what it was told", { skip, timeout: 60_000 }, async (t) => {
  const dir = tempDir("checks");
  t.teardown(() => fs.rmSync(dir, { recursive: true, force: true }));
  const world = await startWorld(t);
  const file = path.join(dir, "ready");
  const app = {
    id: "/slow",
    cmd: serve(file),
    cpus: 0.1,
    mem: 64,
    portDefinitions: [{ port: 0, name: "main" }],
    readinessChecks: [{ portName: "main", intervalSeconds: 1, timeoutSeconds: 1, preserveLastResponse: true }],
  };
  t.equal((await world.call("POST", "/v2/apps", app)).status, 201);
  const result = await waitFor(
    async () => {
      const [deployment] = (await world.call("GET", "/v2/deployments")).body;
      const seen = deployment.currentActions[0].readinessCheckResults[0];
      return seen.lastResponse === undefined ? undefined : seen;
    },
    { what: "an answer of it", deadline: 30_000 },
  );
  t.match(result, { name: "readinessCheck", ready: false, lastResponse: { status: 503, body: "hi" } });
  t.equal((await world.app("/slow")).tasksRunning, 1);
  fs.writeFileSync(file, "");
  await world.runs("/slow");
  fs.rmSync(file);
  await world.sim.restart("SIGKILL");
  await world.runs("/slow");
  t.pass("what was ready once is not asked again");
});

t.test("files are fetched and unpacked, and the task runs as its user", { skip, timeout: 60_000 }, async (t) => {
  const dir = tempDir("checks");
  t.teardown(() => fs.rmSync(dir, { recursive: true, force: true }));
  fs.chmodSync(dir, 0o755);
  fs.writeFileSync(path.join(dir, "tool"), "#!/bin/sh\necho tool as $(id -un)\n");
  execFileSync("tar", ["-czf", path.join(dir, "data.tar.gz"), "-C", dir, "tool"]);
  const world = await startWorld(t);
  const app = {
    id: "/f",
    cmd: "./bin/tool; ls; touch mine; echo $(stat -c %U mine); exec sleep 1000",
    user: "nobody",
    cpus: 0.1,
    mem: 32,
    fetch: [{ uri: `file://${dir}/tool`, executable: true, destPath: "bin/tool" }, { uri: `${dir}/data.tar.gz` }],
  };
  t.equal((await world.call("POST", "/v2/apps", app)).status, 201);
  const task = await world.runs("/f");
  await world.said(task, /tool as nobody\n(.*\n)*data\.tar\.gz\n(.*\n)*tool\n(.*\n)*nobody/);
  const failures: [object, RegExp][] = [
    [{ fetch: [{ uri: "/no/such/file" }] }, /^Failed to launch container: Failed to fetch '\/no\/such\/file': ENOENT/],
    [{ fetch: [{ uri: "hdfs://x/y" }] }, /not by hdfs:/],
    [{ fetch: [{ uri: `${dir}/tool`, destPath: "../../x" }] }, /no file there: set destPath/],
    [{ user: "nobody-else" }, /this machine has no user 'nobody-else': create it/],
  ];
  for (const [index, [more, message]] of failures.entries()) {
    const id = `/bad${index}`;
    await world.call("POST", "/v2/apps", { id, cmd: "sleep 1000", cpus: 0.1, mem: 32, ...more });
    const failure = await waitFor(async () => (await world.app(id)).lastTaskFailure, { what: `${id} to fail` });
    t.match(failure.message, message);
  }
});

t.test(
  "what does not start is ended: a fetch that hangs, an agent that is silent",
  { skip, timeout: 120_000 },
  async (t) => {
    const world = await startWorld(t, { config: "  launchTimeoutSeconds: 3\n  agentTimeoutSeconds: 2\n" });
    // It takes requests and says nothing.
    const hung = http.createServer(() => undefined);
    await new Promise<void>((resolve) => hung.listen(0, "127.0.0.1", resolve));
    t.teardown(() => {
      hung.closeAllConnections();
      hung.close();
    });
    const uri = `http://127.0.0.1:${(hung.address() as net.AddressInfo).port}/x`;
    const app = { cmd: "sleep 1000", cpus: 0.1, mem: 32 };
    const staging = (id: string) =>
      waitFor(async () => (await world.app(id)).tasks.find(({ state }) => state === "TASK_STAGING"), {
        what: `${id} to be staged`,
      });
    await world.call("POST", "/v2/apps", { id: "/hung", ...app, fetch: [{ uri }] });
    const first = await staging("/hung");
    await waitFor(async () => (await staging("/hung")).id !== first.id, {
      what: "another one to be tried",
      deadline: 20_000,
    });
    await world.call("DELETE", "/v2/apps/hung?force=true");
    await waitFor(async () => (await world.call("GET", "/v2/apps/hung")).status === 404, { what: "it to go" });

    const agents = await world.sim.json<{ name: string; pid: number }[]>("agent", "ls");
    const { name, pid } = agents[0] as { name: string; pid: number };
    const stay = { constraints: [["hostname", "CLUSTER", name]], unreachableStrategy: "disabled" };
    await world.call("POST", "/v2/apps", { id: "/stay", ...app, ...stay });
    await world.call("POST", "/v2/apps", { id: "/go", ...app, constraints: [["hostname", "UNLIKE", "x"]] });
    await world.runs("/stay");
    process.kill(pid, "SIGSTOP");
    t.teardown(() => void kill(pid, "SIGCONT"));
    await waitFor(async () => (await world.app("/stay")).tasks.some(({ state }) => state === "TASK_UNREACHABLE"), {
      what: "it to be missed",
    });
    t.match((await world.sim.cli("agent", "ls")).stdout, new RegExp(`${name} +unreachable`));
    await world.call("DELETE", "/v2/apps/stay?force=true");
    await waitFor(async () => (await world.call("GET", "/v2/apps/stay")).status === 404, {
      what: "it to go all the same",
    });
    process.kill(pid, "SIGCONT");
    await waitFor(async () => new RegExp(`${name} +up`).test((await world.sim.cli("agent", "ls")).stdout), {
      what: "the agent",
    });
  },
);
