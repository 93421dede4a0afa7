import { setTimeout as pause } from "node:timers/promises";
import type { Test } from "tap";
import { randomOf } from "../helpers/random.ts";
import { waitFor } from "../helpers/wait.ts";
import type { World } from "./world.ts";

/** How long, and by which seed: `KILL_SECONDS=180 KILL_SEED=1 scripts/test FILE`. */
export const SECONDS = Number(process.env["KILL_SECONDS"] ?? 20);
const seed = Number(process.env["KILL_SEED"] ?? Math.floor(Math.random() * 1e9));

/** A database that keeps numbers. Both throw when it is away. */
export interface Numbers {
  /** When it returns, the number is there for ever. */
  add(n: number): Promise<unknown>;
  all(): Promise<readonly number[]>;
}

/** Adds numbers all the time while the application's hosts are lost at random: what was acknowledged is there at the end. */
export async function loseHosts(t: Test, world: World, id: string, numbers: Numbers): Promise<void> {
  t.comment(`KILL_SEED=${seed}`);
  const random = randomOf(seed);
  const all = () =>
    waitFor(() => numbers.all().then((there) => ({ there })), { what: "the database", deadline: 60_000, every: 100 });
  await all();
  const told: number[] = [];
  const end = Date.now() + SECONDS * 1000;
  const client = (async () => {
    for (let n = 1; Date.now() < end; n++) {
      // Not told of one that failed: it may be there or not.
      await numbers.add(n).then(
        () => told.push(n),
        () => pause(50),
      );
    }
  })();
  let lost = 0;
  while (Date.now() < end) {
    await pause(1500 + random() * 2500);
    const host = (await world.app(id)).tasks.find(({ state }) => state === "TASK_RUNNING")?.host;
    if (host === undefined) continue;
    await world.sim.cli("agent", "kill", host);
    lost++;
    await world.sim.cli("agent", "start", host);
  }
  await client;
  const there = new Set((await all()).there);
  t.same(
    told.filter((n) => !there.has(n)),
    [],
    `${told.length} numbers, ${lost} hosts lost`,
  );
  t.ok(told.length > 10 && lost > 1, `${told.length} numbers, ${lost} hosts lost`);
}
