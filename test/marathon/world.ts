import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import type { Test } from "tap";
import { type Sim, type SimOptions, startSim } from "../helpers/sim.ts";
import { waitFor } from "../helpers/wait.ts";

export interface Task {
  readonly id: string;
  readonly host: string;
  readonly state: string;
  readonly ports: readonly number[];
}

export interface App {
  readonly id: string;
  readonly tasks: readonly Task[];
  readonly tasksRunning: number;
  readonly deployments: readonly { readonly id: string }[];
  readonly lastTaskFailure?: { readonly message: string; readonly state: string; readonly taskId: string };
  readonly version: string;
  readonly instances: number;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: the answers of an API, looked at with `match`
  readonly body: any;
}

export type Caller = (
  method: string,
  url: string,
  body?: unknown,
  headers?: Readonly<Record<string, string>>,
) => Promise<Answer>;

/** Asks an API. A body that is text is sent as it is, any other as JSON. */
export async function ask(
  url: string,
  method: string,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const text = body === undefined ? null : typeof body === "string" ? body : JSON.stringify(body);
  const type = body === undefined ? {} : { "content-type": "application/json" };
  const response = await fetch(url, { method, body: text, headers: { ...type, ...headers } });
  const answer = await response.text();
  let json: unknown = answer;
  try {
    json = JSON.parse(answer);
  } catch {
    // Text, or nothing.
  }
  return { status: response.status, headers: response.headers, body: json };
}

/** An instance with agents, and what its users do. */
export class World {
  constructor(
    readonly sim: Sim,
    readonly marathon: string,
    readonly mesos: string,
  ) {}

  readonly call: Caller = (method, url, body, headers) => ask(`${this.marathon}${url}`, method, body, headers);

  async app(id: string): Promise<App> {
    return (await this.call("GET", `/v2/apps${id}`)).body.app;
  }

  /** Waits until an application has one task that runs, and no deployment; answers it. */
  async runs(id: string, deadline = 20_000): Promise<Task> {
    return (await this.running(id, 1, deadline))[0] as Task;
  }

  /** As {@link runs}, with this many. */
  running(id: string, count: number, deadline = 20_000): Promise<readonly Task[]> {
    return waitFor(
      async () => {
        const app = await this.app(id);
        const running = app.tasks.filter(({ state }) => state === "TASK_RUNNING");
        const settled = running.length === count && app.tasks.length === count && app.deployments.length === 0;
        return settled ? running : undefined;
      },
      { what: `${id} to have ${count} running tasks`, deadline },
    );
  }

  /** What a task has in its sandbox. */
  sandbox(task: Task): string {
    const slaves = path.join(this.sim.stateDir, "agents", task.host, "slaves");
    const [agent] = fs.readdirSync(slaves) as [string];
    const [framework] = fs.readdirSync(path.join(slaves, agent, "frameworks")) as [string];
    return path.join(slaves, agent, "frameworks", framework, "executors", task.id, "runs", "latest");
  }

  stdout = (task: Task): string => fs.readFileSync(path.join(this.sandbox(task), "stdout"), "utf8");

  /** Waits until a task has said what matches. */
  async said(task: Task, pattern: RegExp): Promise<void> {
    await waitFor(() => pattern.test(this.stdout(task)), {
      what: `${task.id} to say ${pattern}: ${this.stdout(task)}`,
    });
  }

  /** Volumes that are mounted for some agent. */
  mounted(): string[] {
    const hosts = path.join(this.sim.stateDir, "hosts");
    return fs
      .readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .flatMap((line) => line.split(" ")[4] ?? [])
      .filter((point) => point.startsWith(hosts) && !point.endsWith("/volumes"));
  }
}

/** Starts one. `config`: further lines of the `simulator:` section, each with two blanks before it. */
export async function startWorld(
  t: Test,
  {
    config = "",
    agents = " 3\n",
    env = {},
    head = "",
    ...rest
  }: Partial<Record<"config" | "agents" | "head", string>> & Omit<SimOptions, "config"> = {},
): Promise<World> {
  const [marathonPort, mesosPort] = [await freePort(), await freePort()];
  const text = `${head}simulator:\n  granularity: 64MB\n  agents:${agents}  marathonPort: ${marathonPort}\n  mesosPort: ${mesosPort}\n${config}`;
  const sim = await startSim(t, { ...rest, config: text, env });
  return new World(sim, `http://127.0.0.1:${marathonPort}`, `http://127.0.0.1:${mesosPort}`);
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

/** An application that writes its starts and its ends into a volume, and says what is there. */
export const stateful = (id: string, volume: string, more: object = {}): Record<string, unknown> => ({
  id,
  cmd: 'echo "start $MESOS_TASK_ID" >> data/log; sync data/log; cat data/log; trap "echo end >> data/log; exit 0" TERM; while :; do sleep 0.1; done',
  cpus: 0.1,
  mem: 32,
  container: {
    type: "MESOS",
    volumes: [
      {
        containerPath: "data",
        mode: "RW",
        external: { name: volume, provider: "dvdi", size: 1, options: { "dvdi/driver": "rexray" } },
      },
    ],
  },
  upgradeStrategy: { minimumHealthCapacity: 0, maximumOverCapacity: 0 },
  backoffSeconds: 1,
  backoffFactor: 1,
  ...more,
});
