import type { ClusterStatus, EventSeverity } from "../model.ts";
import { isDisconnected } from "./alerts.ts";

/** What an event says. */
export interface Happening {
  readonly name: string;
  readonly severity: EventSeverity;
  readonly text: string;
}

const POOL_EVENTS = {
  ok: ["MDM_DATA_NORMAL", "info", "The system is now in NORMAL state."],
  degraded: ["MDM_DATA_DEGRADED", "error", "The system is now in DEGRADED state."],
  failed: ["MDM_DATA_FAILED", "critical", "The system is now in DATA FAILURE state. Some data is unavailable."],
} as const;

/** What has happened between two looks at the cluster, under ScaleIO's names (spec/scaleio.md 1.12). */
export function changesBetween(before: ClusterStatus, after: ClusterStatus): Happening[] {
  const happened: Happening[] = [];
  const add = (name: string, severity: EventSeverity, text: string) => happened.push({ name, severity, text });
  for (const sds of after.sds) {
    const old = before.sds.find(({ name }) => name === sds.name);
    if (old === undefined) add("SDS_ADDED", "info", `SDS: ${sds.name} added`);
    else if (isDisconnected(sds) && !isDisconnected(old))
      add("SDS_DECOUPLED", "error", `SDS: ${sds.name} decoupled: ${sds.reason || sds.state}`);
    else if (isDisconnected(old) && !isDisconnected(sds))
      add("SDS_RECONNECTED", "info", `SDS: ${sds.name} reconnected`);
    if (sds.state === "failed" && sds.reason !== old?.reason)
      add("SDS_DEV_ERROR_REPORT", "error", `${sds.name}: ${sds.reason}`);
  }
  for (const { name } of before.sds)
    if (!after.sds.some((sds) => sds.name === name)) add("SDS_REMOVED", "info", `SDS: ${name} removed`);
  memberChanges(before, after, add);
  for (const pool of after.pools) {
    const old = before.pools.find(({ name }) => name === pool.name);
    if (old === undefined) continue;
    if (old.rebuildBytes === 0 && pool.rebuildBytes > 0)
      add("REBUILD_STARTED", "info", `${pool.name}: rebuild started`);
    if (old.rebuildBytes > 0 && pool.rebuildBytes === 0)
      add("REBUILD_FINISHED", "info", `${pool.name}: rebuild finished`);
    if (old.health !== pool.health) {
      const [name, severity, text] = POOL_EVENTS[pool.health];
      const why = after.alerts.find(({ type }) => /DEGRADED_CAPACITY|FAILED_CAPACITY/.test(type));
      add(name, severity, why === undefined ? text : `${text} ${why.text}`);
    }
  }
  const cutOff = ({ alerts }: ClusterStatus) => alerts.find(({ type }) => type === "SDC_DISCONNECTED");
  const now = cutOff(after);
  if (now !== undefined && cutOff(before) === undefined) add("SDC_DISCONNECTED", "warning", now.text);
  if (now === undefined && cutOff(before) !== undefined) add("SDC_CONNECTED", "info", "All SDCs reach their SDSs.");
  for (const { type, text } of after.alerts) {
    if (/^CAPACITY_UTILIZATION/.test(type) && !before.alerts.some((alert) => alert.type === type))
      add("DEV_CAPACITY_USAGE_HIGH", "warning", text);
  }
  return happened;
}

function memberChanges(
  before: ClusterStatus,
  after: ClusterStatus,
  add: (name: string, severity: EventSeverity, text: string) => void,
): void {
  const normal = ({ mdm }: ClusterStatus) => mdm.filter(({ state }) => state === "normal").length;
  if (normal(before) === normal(after)) return;
  if (normal(after) === after.mdm.length) add("MDM_CLUSTER_NORMAL", "info", "The MDM cluster is whole.");
  else if (normal(after) >= 2) add("MDM_CLUSTER_DEGRADED", "warning", "A member of the MDM cluster is down.");
  else
    add(
      "MDM_CLUSTER_LOST_CONNECTION",
      "critical",
      "The MDM cluster takes no changes: fewer than two members are left.",
    );
}
