import t from "tap";
import type { ClusterStatus } from "../../../src/scaleio/model.ts";
import { alertsOf } from "../../../src/scaleio/watch/alerts.ts";
import { changesBetween } from "../../../src/scaleio/watch/changes.ts";
import { Pace } from "../../../src/scaleio/watch/pace.ts";

const GIB = 1024 ** 3;

type Node = ClusterStatus["sds"][number];
type Pool = ClusterStatus["pools"][number];

/** Four nodes of 100 GB, a third of it spare, nothing wrong. */
function status(pool: Partial<Pool> = {}, nodes: readonly Partial<Node>[] = [{}, {}, {}, {}]): ClusterStatus {
  const found = {
    isCurrent: true,
    health: "ok" as const,
    reasons: [],
    mdm: ["1", "2", "3"].map((name) => ({ name, state: "normal" as const, reason: "" })),
    sds: nodes.map((node, index) => ({
      name: `sds-${index + 1}`,
      state: "up" as const,
      reason: "",
      since: "",
      faultSet: `sds-${index + 1}`,
      capacityBytes: 100 * GIB,
      usedBytes: 0,
      devices: [],
      ...node,
    })),
    pools: [
      {
        name: "pool1",
        health: "ok" as const,
        protectionDomain: "pd1",
        capacityBytes: 400 * GIB,
        usedBytes: 0,
        provisionedBytes: 0,
        availableBytes: 0,
        thinAvailableBytes: 0,
        rebuildBytes: 0,
        rebuildSecondsLeft: null,
        rebalanceBytes: 0,
        rebalanceSecondsLeft: null,
        absorbBytes: 0,
        absorbSecondsLeft: null,
        spareBytes: 100 * GIB,
        inUseBytes: 0,
        thickBytes: 0,
        thinBytes: 0,
        protectedBytes: 0,
        inMaintenanceBytes: 0,
        degradedHealthyBytes: 0,
        degradedFailedBytes: 0,
        failedBytes: 0,
        unreachableUnusedBytes: 0,
        unusedBytes: 0,
        ...pool,
      },
    ],
    scans: [],
    volumes: [],
  };
  return { ...found, alerts: alertsOf(found) };
}

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
    "pool1 degraded: sds-2 failed since 12:03:11, 3.1 GB on one copy, rebuilding 2.0 GB, 40 s left",
  );
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
  t.strictSame(names(ill, ill), []);
  t.strictSame(names(ill, well), ["SDS_RECONNECTED", "REBUILD_FINISHED", "MDM_DATA_NORMAL"]);
  t.strictSame(names(well, status({}, [{}, {}, {}])), ["SDS_REMOVED"]);
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
