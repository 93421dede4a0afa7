import { duration, localClock } from "../../lib/times.ts";
import type { Alert, ClusterStatus, ServiceState, WorkKind } from "../model.ts";
import { CRITICAL, HIGH } from "../pool/capacity.ts";
import { mirrorableBytes } from "../pool/shares.ts";

const FEWEST_FAULT_UNITS = 3;
/** Blocks of a node that had to be put right; at ten times as many a device is not believed any more (bad-blocks.ts). */
const BAD_BLOCKS = 10;
/** What balance promises of every device's share; it aims at less (pool/rebalance.ts). */
const IMBALANCE = 0.05;

type Raise = (type: string, severity: Alert["severity"], affectedObject: string, text: string) => void;
type Pool = ClusterStatus["pools"][number];

/** What is wrong now, under ScaleIO's names (spec/scaleio.md 1.12), each with a sentence for a person. */
export function alertsOf(status: Omit<ClusterStatus, "alerts">): Alert[] {
  const alerts: Alert[] = [];
  const raise: Raise = (type, severity, affectedObject, text) => alerts.push({ type, severity, affectedObject, text });
  for (const sds of status.sds) raiseNode(sds, raise);
  const failed = status.mdm.filter((member) => member.state !== "normal");
  if (failed.length > 0)
    raise(
      "MDM_NOT_CLUSTERED",
      "high",
      "",
      failed.map(({ name, reason }) => `MDM member ${name}: ${reason}`).join("; "),
    );
  const cutOff = cutOffIn(status);
  if (cutOff.length > 0)
    raise("SDC_DISCONNECTED", "medium", "", `no SDS is within reach of volume ${few(cutOff)}: I/O waits`);
  for (const pool of status.pools) {
    if (pool.health === "failed")
      raise(
        "STORAGE_POOL_HAS_FAILED_CAPACITY",
        "high",
        pool.name,
        `${pool.name} failed: ${pool.failedBytes > 0 ? bytes(pool.failedBytes) : "chunks"} have no good copy within reach`,
      );
    if (onOneCopy(pool) > 0)
      raise("STORAGE_POOL_HAS_DEGRADED_CAPACITY", "medium", pool.name, degradedText(pool, status.sds));
    // What cannot be held twice is no use.
    const usable = mirrorableBytes(status.sds.map((sds) => ({ ...sds, faultUnit: sds.faultSet }))) - pool.spareBytes;
    const use = (pool.thickBytes + pool.thinBytes) / Math.max(1, usable);
    const full = `${pool.name} is ${(100 * use).toFixed(0)} % full: add devices or remove data`;
    if (use >= CRITICAL) raise("CAPACITY_UTILIZATION_ABOVE_CRITICAL_THRESHOLD", "high", pool.name, full);
    else if (use >= HIGH) raise("CAPACITY_UTILIZATION_ABOVE_HIGH_THRESHOLD", "medium", pool.name, full);
    if (pool.unreachableUnusedBytes > 0)
      raise(
        "STORAGE_POOL_HAS_UNREACHABLE_CAPACITY",
        "low",
        pool.name,
        `${bytes(pool.unreachableUnusedBytes)} of free space of ${pool.name} are out of reach`,
      );
    raiseWork(pool, status.sds, use >= CRITICAL, raise);
    raiseSpare(pool, status, raise);
  }
  return alerts;
}

function raiseNode(sds: ClusterStatus["sds"][number], raise: Raise): void {
  const { name, usedBytes, capacityBytes, badBlocks } = sds;
  if (isDisconnected(sds)) raise("SDS_DISCONNECTED", "high", name, `${name} is ${word(sds.state)}${since(sds.since)}`);
  else if (sds.reason !== "") raise("DEVICE_FAILED", "high", name, sds.reason);
  if (usedBytes > capacityBytes)
    raise(
      "STORAGE_POOL_HAS_CAPACITY_ERRORS",
      "high",
      name,
      `${name} holds ${bytes(usedBytes)}, more than its ${bytes(capacityBytes)}: add devices or remove data`,
    );
  if (badBlocks > BAD_BLOCKS)
    raise(
      "FIXED_READ_ERROR_COUNT_ABOVE_THRESHOLD",
      "medium",
      name,
      `${badBlocks} blocks of ${name} had other content than was written and were put right: mend its device, then \`rexray-sim device clear ${name} DEVICE\``,
    );
}

/** Work that waits for something, and balance that is to come. */
function raiseWork(pool: Pool, sds: ClusterStatus["sds"], isCritical: boolean, raise: Raise): void {
  const { name, degradedHealthyBytes, imbalance, unbalancedDevice } = pool;
  // Of a node with a single device that has failed nothing is left.
  const within = sds.filter(({ state, devices }) => state === "up" || (state === "failed" && devices.length > 1));
  if (degradedHealthyBytes > 0 && new Set(within.map(({ faultSet }) => faultSet)).size < 2)
    raise(
      "FWD_REBUILD_STUCK",
      "high",
      name,
      `${bytes(degradedHealthyBytes)} of ${name} are on one copy, and no second fault unit is within reach: start or add an SDS`,
    );
  if (Math.abs(imbalance) <= IMBALANCE) return;
  const off = `${unbalancedDevice} has ${(100 * Math.abs(imbalance)).toFixed(0)} % ${imbalance > 0 ? "more" : "less"} of ${name} than its share`;
  raise("STORAGE_POOL_UNBALANCED", "low", name, off);
  if (isCritical)
    raise("REBALANCE_STUCK", "medium", name, `${off}, and the pool is too full to move anything: remove data`);
}

/** For instance "pool1 degraded: sds-2 stopped since 12:03:11, 3.1 GB on one copy, rebuilding, 40 s left". */
function degradedText(pool: Pool, sds: ClusterStatus["sds"]): string {
  const down = sds
    .filter(({ state }) => state !== "up")
    .map(({ name, state, since: at }) => `${name} ${word(state)}${since(at)}`);
  const work = pool.rebuildBytes > 0 ? [`rebuilding ${workLeft(pool, "rebuild", "")}`] : [];
  return `${pool.name} degraded: ${[...down, `${bytes(onOneCopy(pool))} on one copy`, ...work].join(", ")}`;
}

/** For instance "2.0 GB to do, 40 s left". */
export function workLeft(pool: Pool, kind: WorkKind, words = " to do"): string {
  const seconds = pool[`${kind}SecondsLeft`];
  return `${bytes(pool[`${kind}Bytes`])}${words}${seconds === null ? "" : `, ${duration(seconds)} left`}`;
}

/** Also what has its other copy on an SDS in maintenance, or on its way: that is counted twice (CapacityStates). */
const onOneCopy = ({ degradedHealthyBytes, inMaintenanceBytes, semiProtectedBytes }: Pool) =>
  degradedHealthyBytes + (inMaintenanceBytes + semiProtectedBytes) / 2;

function raiseSpare(pool: Pool, { sds }: Pick<ClusterStatus, "sds">, raise: Raise): void {
  const units = new Map<string, number>();
  for (const { faultSet, capacityBytes } of sds) units.set(faultSet, (units.get(faultSet) ?? 0) + capacityBytes);
  if (units.size < FEWEST_FAULT_UNITS)
    raise(
      "NOT_ENOUGH_FAULT_UNITS_IN_SP",
      "high",
      pool.name,
      `${pool.name} has ${units.size} fault units and needs ${FEWEST_FAULT_UNITS}: add an SDS`,
    );
  const largest = Math.max(0, ...units.values());
  if (largest > pool.capacityBytes / 2)
    raise(
      "STORAGE_POOL_EXTREMELY_UNBALANCED",
      "medium",
      pool.name,
      `more than half of ${pool.name} is in one fault unit, and what is beyond the half has no place for a second copy: add devices elsewhere`,
    );
  const free = Math.max(0, pool.capacityBytes - pool.spareBytes - pool.thickBytes - pool.thinBytes);
  if (pool.spareBytes >= largest) return;
  raise(
    "CONFIGURED_SPARE_CAPACITY_SMALLER_THAN_LARGEST_FAULT_UNIT",
    "low",
    pool.name,
    `the spare of ${pool.name}, ${bytes(pool.spareBytes)}, is less than its largest fault unit, ${bytes(largest)}: raise sparePercentage`,
  );
  if (pool.spareBytes + free < largest) {
    raise(
      "SPARE_CAPACITY_AND_FREE_CAPACITY_SMALLER_THAN_LARGEST_FAULT_UNIT",
      "high",
      pool.name,
      `${pool.name} cannot take over its largest fault unit, ${bytes(largest)}: add devices or remove data`,
    );
  }
}

/** Volumes whose I/O waits for an SDS to be within reach. */
export const cutOffIn = ({ volumes }: Pick<ClusterStatus, "volumes">): string[] =>
  volumes.filter(({ disconnectedBy }) => disconnectedBy !== null).map(({ name }) => name);

/** Nothing of it serves anything, whereas one that has failed lacks a device. */
export const isDisconnected = ({ state }: ClusterStatus["sds"][number]): boolean =>
  state === "stopped" || state === "decoupled";

const word = (state: ServiceState) => (state === "decoupled" ? "silent" : state);

/** For instance "a, b, c and 97 more". */
export const few = (names: readonly string[]) =>
  names.slice(0, 3).join(", ") + (names.length > 3 ? ` and ${names.length - 3} more` : "");

const since = (at: string) => (at === "" ? "" : ` since ${localClock(at)}`);

function bytes(count: number): string {
  if (count >= 1024 ** 3) return `${(count / 1024 ** 3).toFixed(1)} GB`;
  return `${Math.ceil(count / 1024 ** 2)} MB`;
}
