import t from "tap";
import { Progress } from "../../../src/scaleio/watch/progress.ts";
import { GIB, type Pool, status } from "./status.ts";

process.env["TZ"] = "Europe/Berlin";

/** What is told when so much is left, look by look; time left: null while unknown. */
function looks(kind: "rebuild" | "rebalance", nodes: Parameters<typeof status>[1] = [{}, {}, {}, {}]) {
  const progress = new Progress();
  return (gib: number, seconds: number | null = null, more: Partial<Pool> = {}) =>
    progress
      .note(status({ [`${kind}Bytes`]: gib * GIB, [`${kind}SecondsLeft`]: seconds, ...more }, nodes))
      .map(({ name, text }) => `${name} ${text}`);
}

t.test(
  "a rebuild is told of when its time left is first known, and at each quarter, in the alert's words",
  async (t) => {
    const silent = { state: "decoupled" as const, since: "2026-01-01T12:03:11.000Z" };
    const look = looks("rebuild", [{}, silent, {}, {}]);
    const degraded = { degradedHealthyBytes: 3.1 * GIB };
    t.strictSame(look(4, null, degraded), []);
    t.strictSame(look(3.5, 40, degraded), [
      "REBUILD_PROGRESS pool1 degraded: sds-2 silent since 13:03:11, 3.1 GB on one copy, rebuilding 3.5 GB, 40 s left, 12 % done",
    ]);
    t.strictSame(look(3.4, 39, degraded), [], "nothing new");
    t.match(look(2, 20, degraded), [/rebuilding 2.0 GB, 20 s left, 50 % done$/], "of two quarters at once the last");
    t.strictSame(look(1.9, null, degraded), []);
    t.match(look(1, null, degraded), [/rebuilding 1.0 GB, 75 % done$/]);
    t.strictSame(look(0), [], "that it is finished is told elsewhere");
    t.strictSame(look(2, 10), []);
    t.strictSame(look(1.5, 8), ["REBUILD_PROGRESS pool1: rebuild: 1.5 GB to do, 8 s left, 25 % done"], "the next one");
  },
);

t.test("work that grows is told of by the whole of it, and one that comes and goes is no flood", async (t) => {
  const look = looks("rebuild");
  look(4);
  t.match(look(2, 10), [/50 % done$/]);
  t.strictSame(look(8, 40), [], "another node was lost");
  t.match(look(6, 30), [/25 % done$/]);
  for (let time = 0; time < 20; time++) t.strictSame([...look(6.5, 30), ...look(5.9, null), ...look(6, 30)], []);
});

t.test("so is a rebalance, but not while it waits for a rebuild", async (t) => {
  const look = looks("rebalance");
  t.strictSame(look(4), []);
  t.strictSame(look(3, 90), ["REBALANCE_PROGRESS pool1: rebalance: 3.0 GB to do, 90 s left, 25 % done"]);
  t.strictSame(look(2, 60, { rebuildBytes: GIB }), []);
  t.strictSame(look(2, 60), [], "it has begun anew");
  t.match(look(1, 30), [/50 % done$/]);
});
