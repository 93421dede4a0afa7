import { setTimeout as pause } from "node:timers/promises";
import type { Test } from "tap";
import { kill } from "../../src/lib/kill.ts";
import { randomOf } from "../helpers/random.ts";
import { waitFor } from "../helpers/wait.ts";
import type { Task, World } from "./world.ts";

/** How long, and by which seed: `KILL_SECONDS=180 KILL_SEED=1 scripts/test FILE`. */
export const SECONDS = Number(process.env["KILL_SECONDS"] ?? 20);
const seed = Number(process.env["KILL_SEED"] ?? Math.floor(Math.random() * 1e9));

/** A database that keeps numbers. Both throw when it is away. */
export interface Numbers {
  /** When it returns, the number is there for ever. */
  add(n: number): Promise<unknown>;
  all(): Promise<readonly number[]>;
}

/** What happens to the application's surroundings; each returns when it is over. */
const BLOWS = {
  "host lost": async ({ sim }, { host }) => {
    await sim.cli("agent", "kill", host);
    await sim.cli("agent", "start", host);
  },
  "agent killed": async ({ sim }, { host }) => {
    const agents = await sim.json<{ name: string; pid: number | null }[]>("agent", "ls");
    const pid = agents.find(({ name }) => name === host)?.pid;
    if (typeof pid === "number") kill(pid, "SIGKILL");
  },
  "daemon killed": ({ sim }) => sim.restart("SIGKILL"),
  "agent cut off": async (world, { id, host }) => {
    await world.sim.cli("fault", "add", "--name", "cut", "agent-partitioned", host);
    // Both run for a moment; only one may write.
    await another(world, id);
    await pause(500);
    await world.sim.cli("fault", "rm", "cut");
  },
} satisfies Record<string, (world: World, task: Task) => Promise<unknown>>;
export type Blow = keyof typeof BLOWS;

/** The shell command by which a task, as long as it runs, writes its id into the volume: {@link oneWriter} reads that. */
export const witness = (file: string): string =>
  `(while echo "$MESOS_TASK_ID" >> ${file} && sync ${file}; do sleep 0.05; done 2>/dev/null) &`;

/** Whether what the tasks have written shows that there never were two at a time: none comes back after another one. */
export function oneWriter(t: Test, text: string): void {
  // What a machine's death has torn is no task's id.
  const ids = text.split("\n").filter((line) => /^\w+\.instance-[0-9a-f-]+\._app\.\d+$/.test(line));
  const turns = ids.filter((id, index) => id !== ids[index - 1]);
  t.same(
    turns.filter((id, index) => turns.indexOf(id) !== index),
    [],
    `${turns.length} writers, one at a time, ${ids.length} lines`,
  );
  t.ok(turns.length > 1, "there was more than one");
}

/** Adds numbers all the time while one blow follows the other: what was acknowledged is there at the end. */
export async function underBlows(
  t: Test,
  world: World,
  { id, blows, numbers }: { id: string; blows: readonly Blow[]; numbers: Numbers },
): Promise<void> {
  t.comment(`KILL_SEED=${seed}`);
  const random = randomOf(seed);
  const all = () =>
    waitFor(() => numbers.all().then((there) => ({ there })), { what: "the database", deadline: 120_000, every: 100 });
  await all();
  const told: number[] = [];
  let over = false;
  const client = (async () => {
    for (let n = 1; !over; n++) {
      // Not told of one that failed: it may be there or not.
      await numbers.add(n).then(
        () => told.push(n),
        () => pause(50),
      );
    }
  })();
  const end = Date.now() + SECONDS * 1000;
  const counts = new Map<Blow, number>();
  try {
    for (let turn = 0; Date.now() < end || turn < blows.length; turn++) {
      const blow = blows[turn < blows.length ? turn : Math.floor(random() * blows.length)] as Blow;
      const task = await running(world, id);
      const before = told.length;
      await waitFor(() => told.length > before, { what: "a number that is told", deadline: 120_000, every: 50 });
      await pause(random() * 1500);
      await BLOWS[blow](world, task);
      counts.set(blow, (counts.get(blow) ?? 0) + 1);
    }
  } finally {
    over = true;
    await client;
  }
  const there = new Set((await all()).there);
  const said = [...counts].map(([blow, count]) => `${blow} ${count} times`).join(", ");
  t.same(
    told.filter((n) => !there.has(n)),
    [],
    `${told.length} numbers; ${said}`,
  );
  t.ok(told.length > 10);
}

const runningOf = async (world: World, id: string): Promise<Task | undefined> =>
  (await world.app(id)).tasks.find(({ state }) => state === "TASK_RUNNING");

const running = (world: World, id: string): Promise<Task> =>
  waitFor(() => runningOf(world, id), { what: `${id} to run`, deadline: 120_000, every: 50 });

/** Waits until a task runs that is not this one. */
async function another(world: World, old: string): Promise<void> {
  const id = `/${old.replace(/\.instance-.*/, "")}`;
  await waitFor(
    async () => {
      const task = await runningOf(world, id);
      return task !== undefined && task.id !== old;
    },
    { what: "another task", deadline: 120_000, every: 50 },
  );
}
