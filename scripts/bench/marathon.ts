/**
 * Marathon's stand-in: from POST to TASK_RUNNING for a MESOS application with a new volume, with its parts; the same beside
 * 10 and beside 200 other applications; and 200 applications with a volume each, deployed and removed. Floors: 1.5 s, a ratio of
 * 1.5, nothing left behind. Exit status 1 when one is missed.
 */
import { median, order, startProduct } from "./tools.ts";

const SAMPLES = 15;
const MANY = 200;
const FEW = 10;
const MOST_MS = 1500;
const MOST_RATIO = 1.5;
const PORT = 18_099;
const url = `http://127.0.0.1:${PORT}`;

const agents = Array.from({ length: 3 }, (_, i) => {
  const first = 32_000 + i * 400;
  return `    - {name: agent-${i + 1}, cpus: 64, mem: 65536, ports: [${first}, ${first + 399}]}\n`;
});
startProduct(
  "bench",
  `simulator:\n  granularity: 64MB\n  marathonPort: ${PORT}\n  mesosPort: ${PORT + 1}\n  agents:\n${agents.join("")}`,
);

interface Task {
  readonly state: string;
  readonly stagedAt: string;
  readonly startedAt: string;
}

const call = async (method: string, path: string, body?: object) => {
  const response = await fetch(url + path, { method, body: body === undefined ? null : JSON.stringify(body) });
  return JSON.parse((await response.text()) || "{}") as { app?: { tasks: Task[] }; deployments?: unknown[] };
};

const definition = (id: string, volume: boolean) => ({
  id,
  cmd: "exec sleep 100000",
  cpus: 0.1,
  mem: 16,
  portDefinitions: [],
  upgradeStrategy: { minimumHealthCapacity: 0, maximumOverCapacity: 0 },
  ...(volume
    ? {
        container: {
          type: "MESOS",
          volumes: [
            {
              containerPath: "data",
              mode: "RW",
              external: { name: `vol${id.slice(1)}`, provider: "dvdi", size: 1, options: { "dvdi/driver": "rexray" } },
            },
          ],
        },
      }
    : {}),
});

/** Milliseconds until it runs, and until the agent had taken it. */
async function launch(id: string, volume: boolean): Promise<{ all: number; staged: number }> {
  const began = Date.now();
  await call("POST", "/v2/apps", definition(id, volume));
  for (;;) {
    const task = (await call("GET", `/v2/apps${id}`)).app?.tasks[0];
    if (task?.state === "TASK_RUNNING")
      return { all: Date.parse(task.startedAt) - began, staged: Date.parse(task.stagedAt) - began };
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function settled(): Promise<void> {
  while (((await call("GET", "/v2/deployments")) as unknown as unknown[]).length > 0)
    await new Promise((resolve) => setTimeout(resolve, 50));
}

let missed = 0;
const report = (what: string, value: string, ok = true) => {
  if (!ok) missed++;
  console.log(`${what.padEnd(66)} ${value} ${ok ? "" : "MISS"}`);
};

async function sample(prefix: string, volume: boolean): Promise<{ all: number; staged: number }> {
  const times: { all: number; staged: number }[] = [];
  for (let i = 0; i < SAMPLES; i++) {
    times.push(await launch(`/${prefix}${i}`, volume));
    await call("DELETE", `/v2/apps/${prefix}${i}`);
    await settled();
  }
  return { all: median(times.map(({ all }) => all)), staged: median(times.map(({ staged }) => staged)) };
}

await launch("/first", true);
const alone = await sample("alone", true);
report("POST to TASK_RUNNING with a new volume, ms, limit 1500", String(alone.all), alone.all <= MOST_MS);
report("  of which until the agent had it", String(alone.staged));
report("  of which create, mkfs, mount, bind, start", String(alone.all - alone.staged));

let made = 0;
const fill = async (count: number) => {
  while (made < count) await call("POST", "/v2/apps", { ...definition(`/plain${++made}`, false), instances: 0 });
};
await fill(FEW);
const few = await sample("few", false);
await fill(MANY);
const many = await sample("many", false);
const ratio = many.all / few.all;
report(
  `without a volume, beside ${FEW} and ${MANY} others, ms and ratio`,
  `${few.all} ${many.all} ${ratio.toFixed(2)}`,
  ratio <= MOST_RATIO,
);

const began = performance.now();
const ids = Array.from({ length: MANY }, (_, i) => `/v${i}`);
// Marathon takes no more than 100 deployments at a time.
const room = async () => {
  while (((await call("GET", "/v2/deployments")) as unknown as unknown[]).length > 80)
    await new Promise((resolve) => setTimeout(resolve, 20));
};
for (const id of ids) {
  await room();
  await call("POST", "/v2/apps", definition(id, true));
}
await settled();
report(`${MANY} applications with a volume each run after, s`, ((performance.now() - began) / 1000).toFixed(1));
const removing = performance.now();
for (const id of ids) {
  await room();
  await call("DELETE", `/v2/apps${id}`);
}
await settled();
const mounted = () =>
  (
    JSON.parse(order("bench", "status", "--json")) as { volumes: { device: string | null; name: string }[] }
  ).volumes.filter(({ device, name }) => device !== null && name !== "volfirst").length;
for (let i = 0; i < 200 && mounted() > 0; i++) await new Promise((resolve) => setTimeout(resolve, 50));
report(
  "and are removed after, s; volumes still attached",
  `${((performance.now() - removing) / 1000).toFixed(1)} ${mounted()}`,
  mounted() === 0,
);
process.exit(missed > 0 ? 1 : 0);
