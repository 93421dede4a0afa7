/**
 * Marathon's stand-in: from POST to TASK_RUNNING for a MESOS application with a new volume, with its parts; the same beside
 * 10 and beside 200 other applications that run, also what that costs Marathon alone; and 200 applications with a volume each, deployed and removed. Floors: 1.5 s, a ratio of
 * 1.5, nothing left behind. Exit status 1 when one is missed.
 */
import { schedulerCost } from "./scheduler-cost.ts";
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

/** When each task came to each of its states (ms), as the stream of events tells. */
const reached = new Map<string, Map<string, number>>();
void (async () => {
  const stream = await fetch(`${url}/v2/events?event_type=status_update_event`, {
    headers: { accept: "text/event-stream" },
  });
  let text = "";
  for await (const part of stream.body ?? []) {
    text += Buffer.from(part).toString();
    const blocks = text.split("\n\n");
    text = blocks.pop() ?? "";
    for (const data of blocks.flatMap((block) => /^data: (?<json>.*)$/m.exec(block)?.groups?.["json"] ?? [])) {
      const { appId, taskStatus } = JSON.parse(data) as { appId: string; taskStatus: string };
      reached.set(appId, (reached.get(appId) ?? new Map()).set(taskStatus, Date.now()));
    }
  }
})().catch(() => undefined);

const call = async (method: string, path: string, body?: object) => {
  const headers = { "content-type": "application/json" };
  const response = await fetch(url + path, { method, headers, body: body === undefined ? null : JSON.stringify(body) });
  return JSON.parse((await response.text()) || "{}") as { deployments?: unknown[] };
};

const definition = (id: string, volume: boolean, name = `vol${id.slice(1)}`) => ({
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
              external: { name, provider: "dvdi", size: 1, options: { "dvdi/driver": "rexray" } },
            },
          ],
        },
      }
    : {}),
});

/** Milliseconds from POST until its agent has it, until its volume is mounted, and until it runs. */
interface Times {
  readonly staged: number;
  readonly mounted: number;
  readonly all: number;
}

async function launch(id: string, volume: boolean, name?: string): Promise<Times> {
  const began = Date.now();
  await call("POST", "/v2/apps", definition(id, volume, name));
  for (;;) {
    const at = (state: string) => (reached.get(id)?.get(state) ?? 0) - began;
    if (at("TASK_RUNNING") > 0)
      return { staged: at("TASK_STAGING"), mounted: at("TASK_STARTING"), all: at("TASK_RUNNING") };
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

async function settled(): Promise<void> {
  while (((await call("GET", "/v2/deployments")) as unknown as unknown[]).length > 0)
    await new Promise((resolve) => setTimeout(resolve, 50));
}

/** Marathon takes no more than 100 deployments at a time. */
async function room(): Promise<void> {
  while (((await call("GET", "/v2/deployments")) as unknown as unknown[]).length > 80)
    await new Promise((resolve) => setTimeout(resolve, 20));
}

let missed = 0;
const report = (what: string, value: string, ok = true) => {
  if (!ok) missed++;
  console.log(`${what.padEnd(66)} ${value} ${ok ? "" : "MISS"}`);
};

async function sample(prefix: string, volume: boolean, volumes = prefix): Promise<Times> {
  const times: Times[] = [];
  for (let i = 0; i < SAMPLES; i++) {
    times.push(await launch(`/${prefix}${i}`, volume, `vol${volumes}${i}`));
    await call("DELETE", `/v2/apps/${prefix}${i}`);
    await settled();
  }
  const middle = (key: keyof Times) => median(times.map((one) => one[key]));
  return { staged: middle("staged"), mounted: middle("mounted"), all: middle("all") };
}

await launch("/first", true);
const alone = await sample("alone", true);
// The same volumes once more: all of them were unmounted a while ago.
const again = await sample("again", true, "alone");
const mounting = again.mounted - again.staged;
report("POST to TASK_RUNNING with a new volume, ms, limit 1500", String(alone.all), alone.all <= MOST_MS);
report("  of which until the agent has it", String(alone.staged));
report("  of which create and make the file system", String(alone.mounted - alone.staged - mounting));
report("  of which mount, as with a volume that is there", String(mounting));
report("  of which bind and start", String(alone.all - alone.mounted));

let made = 0;
const fill = async (count: number) => {
  while (made < count) {
    await room();
    await call("POST", "/v2/apps", definition(`/plain${++made}`, false));
  }
  await settled();
};
await fill(FEW);
const few = await sample("few", false);
await fill(MANY);
const many = await sample("many", false);
const ratio = many.all / few.all;
report(
  `without a volume, beside ${FEW} and ${MANY} that run, ms and ratio`,
  `${few.all} ${many.all} ${ratio.toFixed(2)}`,
  ratio <= MOST_RATIO,
);
const [cheap = 0, dear = 0] = await schedulerCost([FEW, MANY]);
report(
  `Marathon alone, beside ${FEW} and ${MANY}, CPU ms for one and ratio`,
  `${cheap.toFixed(1)} ${dear.toFixed(1)} ${(dear / cheap).toFixed(2)}`,
  dear / cheap <= MOST_RATIO,
);
for (let i = 1; i <= MANY; i++) {
  await room();
  await call("DELETE", `/v2/apps/plain${i}`);
}
await settled();

const began = performance.now();
const ids = Array.from({ length: MANY }, (_, i) => `/v${i}`);
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
