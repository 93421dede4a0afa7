import fs from "node:fs";
import path from "node:path";
import t, { type Test } from "tap";
import type { FaultSpec } from "../../src/lib/fault.ts";
import { kill } from "../../src/lib/kill.ts";
import type { AgentState } from "../../src/mesos/agents-api.ts";
import { type AgentListener, Agents, type AgentsOptions } from "../../src/mesos/master/agents.ts";
import { tempDir } from "../helpers/temp-dir.ts";
import { waitFor } from "../helpers/wait.ts";

// The master's side of agents, with processes that only answer: how they are watched, ordered about and lost.

/** An agent without tasks. It counts its processes, and the polls that wait at it; volumes it gives back when it is to leave. */
const AGENT = `
const fs = require("fs"), http = require("http"), path = require("path");
const { socket, workDir, name } = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
fs.appendFileSync(path.join(workDir, "pids"), process.pid + "\\n");
if (fs.existsSync(path.join(workDir, "broken"))) process.exit(1);
fs.rmSync(socket, { force: true });
const task = (n) => ({ info: { taskId: name + "-" + n }, status: { taskId: name + "-" + n, state: "TASK_FINISHED" } });
let open = 0;
http.createServer((request, response) => {
  const url = new URL(request.url, "http://x");
  if (request.method === "GET") {
    const wait = Number(url.searchParams.get("wait"));
    open++;
    fs.writeFileSync(path.join(workDir, "open"), String(open));
    const timer = setTimeout(() => {
      open--;
      response.end(JSON.stringify({ seq: 1, tasks: wait === 0 ? [task(1), task(2)] : [] }));
    }, wait);
    response.once("close", () => response.writableFinished || (clearTimeout(timer), open--));
  } else if (request.url === "/drain") {
    const hold = path.join(workDir, "hold");
    const look = setInterval(() => {
      if (fs.existsSync(hold)) return;
      clearInterval(look);
      fs.rmSync(path.join(workDir, "isolators"), { recursive: true, force: true });
      response.once("close", () => process.exit(0));
      response.end('{"seq":1,"tasks":[]}');
    }, 10);
  } else response.end("{}");
}).listen(socket);
`;

interface Fixture {
  readonly agents: Agents;
  readonly heard: string[];
  readonly said: string[];
  readonly fenced: string[];
  readonly states: () => Record<string, AgentState>;
  readonly file: (agent: string, name: string) => string;
  readonly pids: (agent: string) => number[];
  readonly again: () => Promise<Fixture>;
}

async function fixture(
  t: Test,
  { dir = tempDir("agents"), count = 3, ...more }: { dir?: string; count?: number } & Partial<AgentsOptions> = {},
  listener: Partial<AgentListener> = {},
): Promise<Fixture> {
  for (const name of ["state", "run", "bin"]) fs.mkdirSync(path.join(dir, name), { recursive: true });
  fs.writeFileSync(path.join(dir, "bin/mesos-agent.js"), AGENT);
  const [heard, said, fenced]: [string[], string[], string[]] = [[], [], []];
  const names = Array.from({ length: count }, (_, i) => `agent-${i + 1}`);
  const agents = new Agents({
    agents: names.map((name) => ({ name, attributes: {}, resources: { cpus: 1, mem: 1, disk: 1 }, ports: [1, 2] })),
    stateDir: path.join(dir, "state"),
    runDir: path.join(dir, "run"),
    binDir: path.join(dir, "bin"),
    dvdcli: undefined,
    timeoutSeconds: 75,
    volumesDir: () => "/nowhere",
    servePlugins: async () => ({ close: async () => undefined }),
    loseHost: async (host) => void fenced.push(host),
    hostIsBack: () => undefined,
    log: (message) => said.push(message),
    ...more,
  });
  const file = (agent: string, name: string) => path.join(dir, "state/agents", agent, name);
  const pids = (agent: string) =>
    fs.existsSync(file(agent, "pids"))
      ? fs.readFileSync(file(agent, "pids"), "utf8").trim().split("\n").map(Number)
      : [];
  t.teardown(async () => {
    await agents.close({ drain: false });
    for (const name of names) for (const pid of pids(name)) kill(pid, "SIGKILL");
    fs.rmSync(dir, { recursive: true, force: true });
  });
  await agents.start({
    task: (agent) => void heard.push(`task ${agent}`),
    known: (agent) => void heard.push(`known ${agent}`),
    left: (agent, state) => void heard.push(`${state} ${agent}`),
    lookAgain: () => undefined,
    ...listener,
  });
  return {
    agents,
    heard,
    said,
    fenced,
    states: () => Object.fromEntries(agents.list().map(({ name, state }) => [name, state])),
    file,
    pids,
    again: async () => {
      await agents.close({ drain: false });
      return fixture(t, { dir, count, ...more }, listener);
    },
  };
}

const up = ({ heard, agents }: Fixture) =>
  waitFor(() => agents.list().every(({ name }) => heard.includes(`known ${name}`)), { what: "the agents to be known" });

const partition = (target: string): FaultSpec => ({
  name: "cut",
  type: "agent-partitioned",
  target,
  probability: 1,
  attributes: {},
});

/** Processes of an agent that still run. */
const living = (pids: readonly number[]) =>
  pids.filter((pid) => {
    try {
      return fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("mesos-agent.js");
    } catch {
      return false;
    }
  });

t.test("several agents are killed at once: each is lost, fenced, and told of", async (t) => {
  const one = await fixture(t);
  await up(one);
  const { agents, heard, fenced, states, pids } = one;
  const names = agents.targets();
  await Promise.all([...names, ...names].map((name) => agents.lose(name)));
  t.same(Object.values(states()), ["lost", "lost", "lost"]);
  t.same(fenced.toSorted(), names);
  t.same(
    heard.filter((line) => line.startsWith("lost")).toSorted(),
    names.map((name) => `lost ${name}`),
  );
  t.same(
    names.flatMap((name) => living(pids(name))),
    [],
  );
  const later = await one.again();
  t.same(Object.values(later.states()), ["lost", "lost", "lost"], "it is on disk");
  t.same(later.fenced.toSorted(), names, "a daemon that died over it would have it done by the next one");
});

t.test("an agent that is cut off again and again is listened to once", async (t) => {
  const one = await fixture(t, { count: 1, timeoutSeconds: 4 });
  await up(one);
  const { agents, file, pids, states } = one;
  for (let i = 0; i < 4; i++) {
    const cut = partition("agent-1");
    await agents.apply([cut], []);
    t.same(states(), { "agent-1": "unreachable" });
    await agents.apply([], [cut]);
  }
  // The polls of former loops end when they are answered; nobody asks anew then.
  await waitFor(() => fs.readFileSync(file("agent-1", "open"), "utf8") === "1", { what: "one poll", deadline: 15_000 });
  kill(pids("agent-1").at(-1) as number, "SIGKILL");
  await waitFor(() => pids("agent-1").length > 1, { what: "another process" });
  await waitFor(() => one.heard.filter((line) => line === "known agent-1").length > 1, { what: "its first words" });
  t.equal(living(pids("agent-1")).length, 1, "one process");
});

t.test("a cut-off agent can be killed: it is lost then, and fenced", async (t) => {
  const one = await fixture(t, { count: 1 });
  await up(one);
  const { agents, fenced, states, pids } = one;
  await agents.apply([partition("agent-1")], []);
  await t.rejects(agents.stop("agent-1"), { message: /cannot leave in order: it is unreachable/ });
  await t.rejects(agents.restart("agent-1"), { message: /fault cut keeps it away/ });
  await agents.lose("agent-1");
  t.same([states(), fenced, living(pids("agent-1"))], [{ "agent-1": "lost" }, ["agent-1"], []]);
  await agents.apply([], [partition("agent-1")]);
  t.same(states(), { "agent-1": "lost" }, "a mended network does not bring a dead host back");
  await agents.restart("agent-1");
  await waitFor(() => living(pids("agent-1")).length === 1, { what: "its process" });
});

t.test("an agent that is silent is unreachable, and back when it speaks", async (t) => {
  const one = await fixture(t, { count: 1, timeoutSeconds: 1 });
  await up(one);
  const { heard, states, pids } = one;
  const [pid = 0] = pids("agent-1");
  kill(pid, "SIGSTOP");
  await waitFor(() => states()["agent-1"] === "unreachable", { what: "it to be missed" });
  t.ok(heard.includes("unreachable agent-1"));
  await t.rejects(one.agents.launch("agent-1", {} as never), { message: /agent-1 is unreachable/ });
  kill(pid, "SIGCONT");
  await waitFor(() => states()["agent-1"] === "running", { what: "it to be back" });
  t.equal(heard.at(-1), "known agent-1");
  t.equal(living(pids("agent-1")).length, 1);

  fs.writeFileSync(one.file("agent-1", "broken"), "");
  kill(pid, "SIGKILL");
  await waitFor(() => states()["agent-1"] === "unreachable", { what: "one that ends again and again to be missed" });
  const why = /agent agent-1 has ended with status 1: \S+agent\.log says why/;
  await waitFor(() => why.test(one.said.join("\n")), { what: "the log to say why" });
  const later = await one.again();
  await later.agents.apply([], []);
  fs.rmSync(one.file("agent-1", "broken"));
  await waitFor(() => later.states()["agent-1"] === "running", { what: "it to be back under another daemon" });
});

t.test("a stop takes as long as its tasks do; a start waits for it, a kill does not", async (t) => {
  const one = await fixture(t, { count: 2 });
  await up(one);
  const { agents, heard, states, file, pids } = one;
  for (const name of agents.targets()) fs.writeFileSync(file(name, "hold"), "");
  const stops = agents.targets().map((name) => agents.stop(name));
  await waitFor(() => Object.values(states()).every((state) => state === "stopped"), { what: "the stops to begin" });
  await agents.lose("agent-2");
  t.same(living(pids("agent-2")), []);
  const start = agents.restart("agent-1");
  t.same(states(), { "agent-1": "stopped", "agent-2": "lost" });
  t.notOk(heard.includes("stopped agent-1"), "it has not left yet");
  fs.rmSync(file("agent-1", "hold"));
  await Promise.all([...stops, start]);
  await waitFor(() => heard.at(-1) === "known agent-1", { what: "it to be back" });
  t.ok(heard.lastIndexOf("stopped agent-1") < heard.lastIndexOf("known agent-1"));
  t.same(states(), { "agent-1": "running", "agent-2": "lost" });
  t.notOk(heard.includes("stopped agent-2"));
});

t.test("an agent that dies over its stop is started again to give its volumes back", async (t) => {
  const one = await fixture(t, { count: 2 });
  await up(one);
  const { agents, file, pids, said, states } = one;
  const dying = async (agent: string) => {
    fs.mkdirSync(file(agent, "isolators/docker/volume/c"), { recursive: true });
    fs.writeFileSync(file(agent, "hold"), "");
    const stop = agents.stop(agent);
    await waitFor(() => states()[agent] === "stopped", { what: "the stop to begin" });
    kill(pids(agent).at(-1) as number, "SIGKILL");
    return stop;
  };
  const first = dying("agent-1");
  await waitFor(() => pids("agent-1").length === 2, { what: "another process" });
  t.ok(fs.existsSync(file("agent-1", "isolators")));
  fs.rmSync(file("agent-1", "hold"));
  await first;
  t.notOk(fs.existsSync(file("agent-1", "isolators")));
  t.same(living(pids("agent-1")), []);

  fs.writeFileSync(file("agent-2", "broken"), "");
  await dying("agent-2");
  t.match(said.join("\n"), /agent-2 has died 4 times over its leave: its next start gives its volumes back/);
  t.same([pids("agent-2").length, states()], [4, { "agent-1": "stopped", "agent-2": "stopped" }]);

  fs.rmSync(file("agent-2", "broken"));
  fs.rmSync(file("agent-2", "hold"));
  const later = await one.again();
  await waitFor(() => later.heard.includes("stopped agent-2"), { what: "the next daemon to see to it" });
  t.notOk(fs.existsSync(file("agent-2", "isolators")));
});

t.test("when all end each is asked to leave, and nobody is waited for in vain", async (t) => {
  const one = await fixture(t);
  await up(one);
  const began = performance.now();
  await one.agents.close({ drain: true });
  t.ok(performance.now() - began < 5_000, "less than the limit for those that do not leave");
  t.same(
    one.agents.targets().flatMap((name) => living(one.pids(name))),
    [],
  );
});

t.test("what the framework cannot take is said once, and the rest is told", async (t) => {
  const heard: string[] = [];
  const task = (_agent: string, { info }: { info: { taskId: string } }) => {
    heard.push(info.taskId);
    if (info.taskId.endsWith("-1")) throw new Error("no such thing");
  };
  const one = await fixture(t, { count: 1 }, { task });
  await up(one);
  t.same(heard, ["agent-1-1", "agent-1-2"]);
  t.equal(one.said.filter((line) => line.includes("no such thing")).length, 1);
});
