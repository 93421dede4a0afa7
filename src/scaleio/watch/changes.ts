import type { Alert, ClusterStatus, EventSeverity } from "../model.ts";
import { cutOffIn, few, isDisconnected, workLeft } from "./alerts.ts";

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

type Add = (name: string, severity: EventSeverity, text: string) => void;

type Told = readonly [name: string, severity: EventSeverity];

/** What it is about is told on its own, with the name of what has changed: a state, the pool's health, a volume. */
const ELSEWHERE = { raised: null, cleared: null };

/** Alerts for whose coming and going ScaleIO has events under other names. The coming and going of all others bears theirs. */
const OTHER_NAMES: Readonly<Record<string, { readonly raised: Told | null; readonly cleared?: null }>> = {
  SDS_DISCONNECTED: ELSEWHERE,
  DEVICE_FAILED: { raised: null },
  MDM_NOT_CLUSTERED: ELSEWHERE,
  STORAGE_POOL_HAS_DEGRADED_CAPACITY: ELSEWHERE,
  STORAGE_POOL_HAS_FAILED_CAPACITY: ELSEWHERE,
  SDC_DISCONNECTED: ELSEWHERE,
  CAPACITY_UTILIZATION_ABOVE_HIGH_THRESHOLD: { raised: ["DEV_CAPACITY_USAGE_HIGH", "warning"] },
  CAPACITY_UTILIZATION_ABOVE_CRITICAL_THRESHOLD: { raised: ["DEV_CAPACITY_USAGE_HIGH", "warning"] },
};

/** Of events that say that an alert was raised; as ScaleIO's own are for failed and degraded capacity and for lost SDCs. */
const SEVERITIES: Readonly<Record<Alert["severity"], EventSeverity>> = {
  low: "warning",
  medium: "error",
  high: "critical",
};

/**
 * What has happened between two looks at the cluster, under ScaleIO's names (spec/scaleio.md 1.12). Every alert that was raised or
 * cleared is among it.
 */
export function changesBetween(before: ClusterStatus, after: ClusterStatus): Happening[] {
  const happened: Happening[] = [];
  const add: Add = (name, severity, text) => happened.push({ name, severity, text });
  for (const sds of after.sds) {
    const old = before.sds.find(({ name }) => name === sds.name);
    if (old === undefined) add("SDS_ADDED", "info", `SDS: ${sds.name} added`);
    else if (isDisconnected(sds) && !isDisconnected(old))
      add("SDS_DECOUPLED", "error", `SDS: ${sds.name} decoupled: ${sds.reason || sds.state}`);
    else if (isDisconnected(old) && !isDisconnected(sds))
      add("SDS_RECONNECTED", "info", `SDS: ${sds.name} reconnected`);
    if (sds.state === "failed" && (old?.state !== "failed" || sds.reason !== old.reason))
      add("SDS_DEV_ERROR_REPORT", "error", `${sds.name}: ${sds.reason}`);
  }
  for (const { name } of before.sds)
    if (!after.sds.some((sds) => sds.name === name)) add("SDS_REMOVED", "info", `SDS: ${name} removed`);
  memberChanges(before, after, add);
  sdcChanges(before, after, add);
  for (const pool of after.pools) {
    const old = before.pools.find(({ name }) => name === pool.name);
    if (old === undefined) continue;
    if (old.rebuildBytes === 0 && pool.rebuildBytes > 0)
      add("REBUILD_STARTED", "info", `${pool.name}: rebuild started: ${workLeft(pool, "rebuild")}`);
    if (old.rebuildBytes > 0 && pool.rebuildBytes === 0)
      add("REBUILD_FINISHED", "info", `${pool.name}: rebuild finished`);
    if (!isRebalanced(old) && isRebalanced(pool))
      add("REBALANCE_STARTED", "info", `${pool.name}: rebalance started: ${workLeft(pool, "rebalance")}`);
    if (isRebalanced(old) && !isRebalanced(pool)) {
      if (pool.rebalanceBytes === 0) add("REBALANCE_FINISHED", "info", `${pool.name}: rebalance finished`);
      else
        add(
          "REBALANCE_PAUSED",
          "info",
          `${pool.name}: rebalance waits for the rebuild: ${workLeft(pool, "rebalance")}`,
        );
    }
    if (old.health !== pool.health) {
      const [name, severity, text] = POOL_EVENTS[pool.health];
      const why = after.alerts.find(({ type }) => /DEGRADED_CAPACITY|FAILED_CAPACITY/.test(type));
      const reason = pool.health === "ok" ? "" : ` ${why?.text ?? after.reasons[0] ?? ""}`;
      add(name, severity, `${text}${reason}`.trimEnd());
    }
  }
  alertChanges(before, after, add);
  return happened;
}

/** Rebuild comes first. */
export const isRebalanced = ({ rebalanceBytes, rebuildBytes }: ClusterStatus["pools"][number]) =>
  rebalanceBytes > 0 && rebuildBytes === 0;

function alertChanges(before: ClusterStatus, after: ClusterStatus, add: Add): void {
  for (const { type, severity, text } of missingIn(before, after)) {
    const told = OTHER_NAMES[type] === undefined ? ([type, SEVERITIES[severity]] as const) : OTHER_NAMES[type].raised;
    if (told !== null) add(...told, text);
  }
  for (const { type, text } of missingIn(after, before))
    if (OTHER_NAMES[type]?.cleared !== null) add(type, "info", `cleared: ${text}`);
}

/** The second one's alerts that the first one has not. Their words change with every number in them. */
function missingIn({ alerts }: ClusterStatus, other: ClusterStatus): Alert[] {
  const key = ({ type, affectedObject }: Alert) => `${type} ${affectedObject}`;
  const known = new Set(alerts.map(key));
  return other.alerts.filter((alert) => !known.has(key(alert)));
}

function memberChanges(before: ClusterStatus, after: ClusterStatus, add: Add): void {
  const failed = ({ mdm }: ClusterStatus) => mdm.filter(({ state }) => state !== "normal");
  const names = (status: ClusterStatus) => failed(status).map(({ name }) => name);
  const [old, now] = [names(before), names(after)];
  if (old.join() === now.join()) return;
  const back = old.filter((name) => !now.includes(name)).map((name) => `member ${name} is back`);
  const why = [...failed(after).map(({ name, reason }) => `member ${name}: ${reason}`), ...back].join("; ");
  if (now.length === 0) add("MDM_CLUSTER_NORMAL", "info", `The MDM cluster is whole: ${why}`);
  else if (after.mdm.length - now.length >= 2)
    add("MDM_CLUSTER_DEGRADED", "warning", `The MDM cluster is degraded: ${why}`);
  else
    add(
      "MDM_CLUSTER_LOST_CONNECTION",
      "critical",
      `The MDM cluster takes no changes, fewer than two members are left: ${why}`,
    );
}

function sdcChanges(before: ClusterStatus, after: ClusterStatus, add: Add): void {
  const [old, now] = [new Set(cutOffIn(before)), new Set(cutOffIn(after))];
  const [cut, back] = [[...now].filter((name) => !old.has(name)), [...old].filter((name) => !now.has(name))];
  if (cut.length > 0) add("SDC_DISCONNECTED", "warning", `no SDS is within reach of volume ${few(cut)}: I/O waits`);
  if (back.length > 0) add("SDC_CONNECTED", "info", `I/O of volume ${few(back)} waits no more`);
}
