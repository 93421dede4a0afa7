import t from "tap";
import type { Change, Sds, SystemState } from "../../src/scaleio/model.ts";
import { Nodes, type NodesOptions } from "../../src/scaleio/nodes.ts";

/** Orders to one node; `moved`: who moves copies has had his turn. */
function world(moved: () => Promise<void>) {
  const state = {
    sds: [{ name: "a", state: "up", devices: [{ id: "1", state: "up" }] }] as unknown as Sds[],
    pool: { deviceIds: ["1"], groups: [] },
  };
  const commit = async (change: Change) => {
    state.sds = state.sds.map((sds) => {
      if (change.type === "sds-maintenance") return { ...sds, maintenance: change.on };
      return change.type === "sds-state" ? { ...sds, state: change.state } : sds;
    });
  };
  const nothing = async () => undefined;
  const nodes = new Nodes({
    mdm: { state: state as unknown as SystemState, checkCurrent: () => undefined, commit },
    health: { clear: nothing },
    faults: () => [],
    status: async () => ({ health: "ok", reasons: [] }),
    ...{ moved, patienceMs: 100, tell: nothing, changed: nothing },
  } as unknown as NodesOptions);
  return { state, nodes };
}

t.test("a node that is started while it goes into maintenance stays up", async (t) => {
  const moved: (() => void)[] = [];
  const { state, nodes } = world(() => new Promise((resolve) => moved.push(resolve)));
  const rests = nodes.maintainSds("a");
  while (moved.length === 0) await new Promise(setImmediate);
  const starts = nodes.startSds("a");
  const refused = t.rejects(rests, { code: "unavailable" });
  const pump = setInterval(() => moved.splice(0).forEach((resolve) => void resolve()), 1);
  t.teardown(() => clearInterval(pump));
  await Promise.all([refused, starts]);
  t.match(state.sds, [{ state: "up", maintenance: false }]);
});

t.test("who moves copies is at something that takes long: a node is back all the same", async (t) => {
  const { state, nodes } = world(() => new Promise(() => undefined));
  await nodes.maintainSds("a");
  t.match(state.sds, [{ state: "stopped", maintenance: true }]);
  await nodes.startSds("a");
  t.match(state.sds, [{ state: "up", maintenance: false }]);
});
