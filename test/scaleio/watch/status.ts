import type { ClusterStatus } from "../../../src/scaleio/model.ts";
import { alertsOf } from "../../../src/scaleio/watch/alerts.ts";
import { NOTHING } from "../../helpers/pool-status.ts";

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
        spareBytes: 100 * GIB,
        ...NOTHING,
        ...pool,
      },
    ],
    scans: [],
    volumes: [],
  };
  return { ...found, alerts: alertsOf(found) };
}
