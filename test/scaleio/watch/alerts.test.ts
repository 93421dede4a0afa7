import t from "tap";
import type { ClusterStatus } from "../../../src/scaleio/model.ts";
import { alertsOf } from "../../../src/scaleio/watch/alerts.ts";
import { changesBetween } from "../../../src/scaleio/watch/changes.ts";

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
        rebuildBytes: 0,
        secondsLeft: null,
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
    volumes: [],
  };
  return { ...found, alerts: alertsOf(found) };
}

const types = ({ alerts }: ClusterStatus) => alerts.map(({ type }) => type);

t.test("capacity alerts: 80 and 90 % of what is not spare", async (t) => {
  t.strictSame(types(status({ usedBytes: 239 * GIB })), []);
  t.strictSame(types(status({ usedBytes: 240 * GIB })), ["CAPACITY_UTILIZATION_ABOVE_HIGH_THRESHOLD"]);
  t.strictSame(types(status({ usedBytes: 270 * GIB })), ["CAPACITY_UTILIZATION_ABOVE_CRITICAL_THRESHOLD"]);
});

t.test("spare alerts: less than the largest fault unit, and less even with what is free", async (t) => {
  const small = status({ spareBytes: 40 * GIB });
  t.strictSame(types(small), ["CONFIGURED_SPARE_CAPACITY_SMALLER_THAN_LARGEST_FAULT_UNIT"]);
  t.match(small.alerts[0]?.text, /40.0 GB, is less than its largest fault unit, 100.0 GB/);
  const full = types(status({ spareBytes: 40 * GIB, usedBytes: 310 * GIB }));
  t.ok(full.includes("SPARE_CAPACITY_AND_FREE_CAPACITY_SMALLER_THAN_LARGEST_FAULT_UNIT"));
  t.ok(types(status({}, [{}, {}])).includes("NOT_ENOUGH_FAULT_UNITS_IN_SP"));
});

t.test("a degraded pool is explained", async (t) => {
  const down = { state: "failed" as const, since: "2026-01-01T12:03:11.000Z" };
  const { alerts } = status(
    { health: "degraded", degradedHealthyBytes: 3.1 * GIB, rebuildBytes: 2 * GIB, secondsLeft: 40 },
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
