import type { ClusterStatus } from "../../../src/scaleio/model.ts";
import { alertsOf } from "../../../src/scaleio/watch/alerts.ts";

export const GIB = 1024 ** 3;

export type Node = ClusterStatus["sds"][number];
export type Pool = ClusterStatus["pools"][number];

/** Four nodes of 100 GB, a third of it spare, nothing wrong. */
export function status(pool: Partial<Pool> = {}, nodes: readonly Partial<Node>[] = [{}, {}, {}, {}]): ClusterStatus {
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
      badBlocks: 0,
      deviceNames: [],
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
        imbalance: 0,
        unbalancedDevice: "",
        spareBytes: 100 * GIB,
        inUseBytes: 0,
        thickBytes: 0,
        thinBytes: 0,
        protectedBytes: 0,
        inMaintenanceBytes: 0,
        semiProtectedBytes: 0,
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
