import t from "tap";
import type { ClusterStatus } from "../../../src/scaleio/model.ts";
import { alertsOf } from "../../../src/scaleio/watch/alerts.ts";
import { changesBetween } from "../../../src/scaleio/watch/changes.ts";
import { Pace } from "../../../src/scaleio/watch/pace.ts";
import { GIB, type Node, type Pool, status } from "./status.ts";

// Where people live it is an hour later than by the log.
process.env["TZ"] = "Europe/Berlin";

type Volume = ClusterStatus["volumes"][number];

const types = ({ alerts }: ClusterStatus) => alerts.map(({ type }) => type);

t.test("capacity alerts: 80 and 90 % of what is not spare, set aside or written", async (t) => {
  const full = (thinBytes: number, thickBytes = 0) => types(status({ thinBytes, thickBytes }));
  t.strictSame(full(239 * GIB), []);
  t.strictSame(full(240 * GIB), ["CAPACITY_UTILIZATION_ABOVE_HIGH_THRESHOLD"]);
  t.strictSame(full(40 * GIB, 200 * GIB), ["CAPACITY_UTILIZATION_ABOVE_HIGH_THRESHOLD"]);
  t.strictSame(full(0, 270 * GIB), ["CAPACITY_UTILIZATION_ABOVE_CRITICAL_THRESHOLD"]);
});

t.test("a node that holds more than its simulated capacity, and a pool with most of it in one place", async (t) => {
  const over = status({ thinBytes: 10 * GIB }, [{ usedBytes: 101 * GIB }, {}, {}, {}]).alerts;
  t.match(over, [{ type: "STORAGE_POOL_HAS_CAPACITY_ERRORS", text: /sds-1 holds 101.0 GB, more than its 100.0 GB/ }]);
  const uneven = status({ thinBytes: 250 * GIB, capacityBytes: 1200 * GIB }, [{ capacityBytes: 1000 * GIB }, {}, {}]);
  t.ok(types(uneven).includes("STORAGE_POOL_EXTREMELY_UNBALANCED"));
  const high = uneven.alerts.find(({ type }) => type === "CAPACITY_UTILIZATION_ABOVE_HIGH_THRESHOLD");
  t.match(high?.text, /pool1 is 83 % full/, "of the 300 that can be held twice and need not be kept free");
});

t.test("spare alerts: less than the largest fault unit, and less even with what is free", async (t) => {
  const small = status({ spareBytes: 40 * GIB });
  t.strictSame(types(small), ["CONFIGURED_SPARE_CAPACITY_SMALLER_THAN_LARGEST_FAULT_UNIT"]);
  t.match(small.alerts[0]?.text, /40.0 GB, is less than its largest fault unit, 100.0 GB/);
  const full = types(status({ spareBytes: 40 * GIB, thinBytes: 310 * GIB }));
  t.ok(full.includes("SPARE_CAPACITY_AND_FREE_CAPACITY_SMALLER_THAN_LARGEST_FAULT_UNIT"));
  t.ok(types(status({}, [{}, {}])).includes("NOT_ENOUGH_FAULT_UNITS_IN_SP"));
});

t.test("a degraded pool is explained", async (t) => {
  const down = { state: "failed" as const, since: "2026-01-01T12:03:11.000Z" };
  const { alerts } = status(
    { health: "degraded", degradedHealthyBytes: 3.1 * GIB, rebuildBytes: 2 * GIB, rebuildSecondsLeft: 40 },
    [{}, down, {}, {}],
  );
  t.equal(
    alerts.find(({ type }) => type === "STORAGE_POOL_HAS_DEGRADED_CAPACITY")?.text,
    "pool1 degraded: sds-2 failed since 13:03:11, 3.1 GB on one copy, rebuilding 2.0 GB, 40 s left",
  );
  const silent = status({}, [{ state: "decoupled", since: "2026-07-01T22:30:00.000Z" }, {}, {}, {}]).alerts;
  t.match(silent, [{ type: "SDS_DISCONNECTED", text: "sds-1 is silent since 00:30:00" }], "by the clock on the wall");
  const text = (pool: Partial<Pool>) => status(pool).alerts[0]?.text;
  t.equal(
    text({ semiProtectedBytes: 2 * GIB }),
    "pool1 degraded: 1.0 GB on one copy",
    "its second one is not complete",
  );
});

t.test("a failed pool: what has no good copy is told, beside what has one, and when it is so no more", async (t) => {
  const failed = (failedBytes: number) =>
    status({ health: "failed", failedBytes, degradedHealthyBytes: GIB }, [{ state: "stopped" }, { state: "stopped" }]);
  const of = ({ alerts }: ClusterStatus) => alerts.filter(({ type }) => type === "STORAGE_POOL_HAS_FAILED_CAPACITY");
  t.strictSame(of(failed(1.5 * GIB)), [
    {
      type: "STORAGE_POOL_HAS_FAILED_CAPACITY",
      severity: "high",
      affectedObject: "pool1",
      text: "pool1 failed: 1.5 GB have no good copy within reach",
    },
  ]);
  t.match(
    of(failed(0)),
    [{ text: "pool1 failed: chunks have no good copy within reach" }],
    "in which nothing is written",
  );
  t.ok(types(failed(0)).includes("STORAGE_POOL_HAS_DEGRADED_CAPACITY"), "and the rest has one");
  t.strictSame(of(status({ health: "degraded", degradedHealthyBytes: GIB })), []);
  const events = (before: ClusterStatus, after: ClusterStatus) =>
    changesBetween(before, after).filter(({ name }) => /^MDM_DATA|FAILED_CAPACITY/.test(name));
  t.strictSame(events(status(), failed(GIB)), [
    {
      name: "MDM_DATA_FAILED",
      severity: "critical",
      text: "The system is now in DATA FAILURE state. Some data is unavailable. pool1 failed: 1.0 GB have no good copy within reach",
    },
  ]);
  t.match(events(failed(GIB), status()), [{ name: "MDM_DATA_NORMAL" }]);
  const reasons = ["volume v: 64 of its MiB chunks have one good copy"];
  t.match(
    events(status(), { ...status({ health: "degraded" }), reasons }),
    [{ text: "The system is now in DEGRADED state. volume v: 64 of its MiB chunks have one good copy" }],
    "why is told where no byte is concerned, too",
  );
});

t.test("MDM members that are down: an alert that names them, and an event whenever it is others", async (t) => {
  const down = (...names: string[]): ClusterStatus => {
    const member = (name: string) =>
      names.includes(name)
        ? { name, state: "failed" as const, reason: "it is down" }
        : { name, state: "normal" as const, reason: "" };
    const found = { ...status(), mdm: ["1", "2", "3"].map(member) };
    return { ...found, alerts: alertsOf(found) };
  };
  t.strictSame(down().alerts, []);
  t.strictSame(down("1", "3").alerts, [
    {
      type: "MDM_NOT_CLUSTERED",
      severity: "high",
      affectedObject: "",
      text: "MDM member 1: it is down; MDM member 3: it is down",
    },
  ]);
  const told = (before: ClusterStatus, after: ClusterStatus) =>
    changesBetween(before, after).map(({ name, severity, text }) => `${name} ${severity} ${text}`);
  const degraded = (why: string) => [`MDM_CLUSTER_DEGRADED warning The MDM cluster is degraded: ${why}`];
  const lost = [
    "MDM_CLUSTER_LOST_CONNECTION critical The MDM cluster takes no changes, fewer than two members are left: " +
      "member 1: it is down; member 3: it is down",
  ];
  const normal = (why: string) => [`MDM_CLUSTER_NORMAL info The MDM cluster is whole: ${why}`];
  t.strictSame(told(down(), down("1")), degraded("member 1: it is down"));
  t.strictSame(told(down("1"), down("1", "3")), lost);
  t.strictSame(told(down(), down("1", "3")), lost, "both at once");
  t.strictSame(told(down("1", "3"), down("3")), degraded("member 3: it is down; member 1 is back"));
  t.strictSame(told(down("3"), down()), normal("member 3 is back"));
  t.strictSame(told(down("1", "3"), down()), normal("member 1 is back; member 3 is back"));
  t.strictSame(told(down("1"), down("2")), degraded("member 2: it is down; member 1 is back"), "another one");
  t.strictSame(told(down("1"), down("1")), []);
});

t.test("what has changed is told once, under ScaleIO's names", async (t) => {
  const well = status();
  const ill = status({ health: "degraded", rebuildBytes: GIB, degradedHealthyBytes: GIB }, [
    {},
    { state: "stopped" },
    {},
    {},
  ]);
  const names = (before: ClusterStatus, after: ClusterStatus) => changesBetween(before, after).map(({ name }) => name);
  t.strictSame(names(well, ill), ["SDS_DECOUPLED", "REBUILD_STARTED", "MDM_DATA_DEGRADED"]);
  t.ok(changesBetween(well, ill).some(({ text }) => text === "pool1: rebuild started: 1.0 GB to do"));
  t.strictSame(names(ill, ill), []);
  t.strictSame(names(ill, well), ["SDS_RECONNECTED", "REBUILD_FINISHED", "MDM_DATA_NORMAL"]);
  t.strictSame(names(well, status({}, [{}, {}, {}])), ["SDS_REMOVED"]);
});

t.test("every alert that is raised or cleared is an event, once", async (t) => {
  const spare = (gib: number) => status({ spareBytes: gib * GIB });
  const name = "CONFIGURED_SPARE_CAPACITY_SMALLER_THAN_LARGEST_FAULT_UNIT";
  const text = spare(40).alerts[0]?.text;
  t.strictSame(changesBetween(spare(100), spare(40)), [{ name, severity: "warning", text }]);
  t.strictSame(changesBetween(spare(40), spare(39)), [], "only its words are others");
  t.strictSame(changesBetween(spare(40), spare(100)), [{ name, severity: "info", text: `cleared: ${text}` }]);

  const over = (...nodes: number[]) =>
    status(
      {},
      [1, 2, 3, 4].map((node) => ({ usedBytes: nodes.includes(node) ? 101 * GIB : 0 })),
    );
  t.match(changesBetween(over(1), over(1, 2)), [
    { name: "STORAGE_POOL_HAS_CAPACITY_ERRORS", severity: "critical", text: /^sds-2 holds/ },
  ]);
  t.match(changesBetween(over(1), over(2)), [{ text: /^sds-2 holds/ }, { severity: "info", text: /^cleared: sds-1/ }]);
});

t.test("alerts for which ScaleIO has events of its own bear those names", async (t) => {
  const names = (before: ClusterStatus, after: ClusterStatus) =>
    [changesBetween(before, after), changesBetween(after, before)].map((events) => events.map(({ name }) => name));
  const down = (more: Partial<Node>) => status({}, [more, {}, {}, {}]);
  const well = status();
  t.strictSame(names(well, down({ state: "stopped" })), [["SDS_DECOUPLED"], ["SDS_RECONNECTED"]]);
  const broken = { state: "failed" as const, reason: "sds-1/dev-1: EIO" };
  t.strictSame(names(well, down(broken)), [["SDS_DEV_ERROR_REPORT"], ["DEVICE_FAILED"]]);
  t.ok(names(down({ ...broken, state: "stopped" }), down(broken))[0]?.includes("SDS_DEV_ERROR_REPORT"), "it is still");
  t.strictSame(names(well, status({ thinBytes: 240 * GIB })), [
    ["DEV_CAPACITY_USAGE_HIGH"],
    ["CAPACITY_UTILIZATION_ABOVE_HIGH_THRESHOLD"],
  ]);
});

t.test("who is cut off from its SDSs, and who no more", async (t) => {
  const cut = (...names: string[]) => {
    const volumes = ["v", "w"].map(
      (name) => ({ name, disconnectedBy: names.includes(name) ? "cable" : null }) as Volume,
    );
    const found = { ...status(), volumes };
    return { ...found, alerts: alertsOf(found) };
  };
  const [name, severity] = ["SDC_DISCONNECTED", "warning"];
  t.strictSame(types(cut("v", "w")), [name]);
  const text = (volume: string) => `no SDS is within reach of volume ${volume}: I/O waits`;
  t.strictSame(changesBetween(cut(), cut("v")), [{ name, severity, text: text("v") }]);
  t.strictSame(changesBetween(cut("v"), cut("v", "w")), [{ name, severity, text: text("w") }], "a second one");
  const back = { name: "SDC_CONNECTED", severity: "info", text: "I/O of volume v waits no more" };
  t.strictSame(changesBetween(cut("v", "w"), cut("w")), [back]);
});

t.test("balance: under way, after the rebuild, due", async (t) => {
  const told = (before: Partial<Pool>, after: Partial<Pool>) =>
    changesBetween(status(before), status(after)).map(({ name }) => name);
  const moving = { rebalanceBytes: GIB };
  t.strictSame(told({}, moving), ["REBALANCE_STARTED"]);
  t.strictSame(told(moving, {}), ["REBALANCE_FINISHED"]);
  t.strictSame(told(moving, { ...moving, rebuildBytes: GIB }), ["REBUILD_STARTED", "REBALANCE_PAUSED"]);
  t.strictSame(told({ ...moving, rebuildBytes: GIB }, moving), ["REBUILD_FINISHED", "REBALANCE_STARTED"]);
  t.strictSame(told({ ...moving, rebuildBytes: GIB }, {}), ["REBUILD_FINISHED"]);

  t.match(changesBetween(status(), status({ ...moving, rebalanceSecondsLeft: 1000 })), [
    { text: "pool1: rebalance started: 1.0 GB to do, 17 min left" },
  ]);

  t.strictSame(types(status({ imbalance: -0.05 })), []);
  const uneven = (imbalance: number) => status({ imbalance, unbalancedDevice: "sds-5/dev-1" }).alerts;
  const type = "STORAGE_POOL_UNBALANCED";
  t.match(uneven(0.25), [{ type, text: "sds-5/dev-1 has 25 % more of pool1 than its share" }]);
  t.match(uneven(-1), [{ type, text: "sds-5/dev-1 has 100 % less of pool1 than its share" }]);
  const full = status({ imbalance: -1, thinBytes: 280 * GIB }).alerts.find(({ type }) => type === "REBALANCE_STUCK");
  t.match(full?.text, /100 % less of pool1 than its share, and the pool is too full/);
});

t.test("a rebuild that has nowhere to go", async (t) => {
  const down = { state: "stopped" as const };
  const failed = { state: "failed" as const, devices: ["dev-1"] };
  const stuck = (pool: Partial<Pool>, ...nodes: Partial<Node>[]) =>
    types(status(pool, nodes)).includes("FWD_REBUILD_STUCK");
  const onOne = { degradedHealthyBytes: GIB };
  t.equal(stuck(onOne, {}, down, down), true);
  t.equal(stuck(onOne, {}, down, failed), true, "its only device");
  t.equal(stuck(onOne, {}, down, { ...failed, devices: ["dev-1", "dev-2"] }), false, "it may have another one");
  t.equal(stuck(onOne, { faultSet: "a" }, { faultSet: "a" }, down), true, "two nodes of one fault set");
  t.equal(stuck(onOne, {}, {}, down), false);
  t.equal(stuck({ semiProtectedBytes: GIB }, {}, down, down), false, "the copies have places already");
});

t.test("a node with more than a few bad blocks", async (t) => {
  const bad = (badBlocks: number) => status({}, [{}, { badBlocks }, {}, {}]).alerts;
  t.strictSame(bad(10), []);
  t.match(bad(11), [
    { type: "FIXED_READ_ERROR_COUNT_ABOVE_THRESHOLD", affectedObject: "sds-2", text: /11 blocks.*device clear sds-2/ },
  ]);
});

t.test("time left is told from the pace of the last seconds", async (t) => {
  const pace = new Pace();
  const after = (seconds: number, left: number) => {
    pace.note(seconds * 1000, left);
    return pace.secondsLeft(left);
  };
  t.equal(after(0, 1000), null, "no pace is known yet");
  t.equal(after(1, 900), 9);
  t.equal(after(2, 700), 5, "300 in 2 s");
  t.equal(after(20, 690), null, "it stood still too long for a guess");
  t.equal(after(21, 680), 68);
  t.equal(after(22, 5000), null, "a new piece of work");
  t.equal(after(23, 0), null);
});
