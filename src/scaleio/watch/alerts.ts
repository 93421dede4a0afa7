import type { Alert, ClusterStatus, ServiceState } from "../model.ts";
import { CRITICAL, HIGH } from "../pool/capacity.ts";
import { mirrorableBytes } from "../pool/shares.ts";

const FEWEST_FAULT_UNITS = 3;

/** What is wrong now, under ScaleIO's names (spec/scaleio.md 1.12), each with a sentence for a person. */
export function alertsOf(status: Omit<ClusterStatus, "alerts">): Alert[] {
  const alerts: Alert[] = [];
  const raise = (type: string, severity: Alert["severity"], text: string) => alerts.push({ type, severity, text });
  for (const sds of status.sds) {
    if (isDisconnected(sds)) raise("SDS_DISCONNECTED", "high", `${sds.name} is ${word(sds.state)}${since(sds.since)}`);
    else if (sds.reason !== "") raise("DEVICE_FAILED", "high", sds.reason);
    if (sds.usedBytes > sds.capacityBytes)
      raise(
        "STORAGE_POOL_HAS_CAPACITY_ERRORS",
        "high",
        `${sds.name} holds ${bytes(sds.usedBytes)}, more than its ${bytes(sds.capacityBytes)}: add devices or remove data`,
      );
  }
  const failed = status.mdm.filter((member) => member.state !== "normal");
  if (failed.length > 0)
    raise("MDM_NOT_CLUSTERED", "high", failed.map(({ name, reason }) => `MDM member ${name}: ${reason}`).join("; "));
  const cutOff = status.volumes.filter(({ disconnectedBy }) => disconnectedBy !== null).map(({ name }) => name);
  if (cutOff.length > 0)
    raise("SDC_DISCONNECTED", "medium", `no SDS is within reach of volume ${few(cutOff)}: I/O waits`);
  for (const pool of status.pools) {
    if (pool.health === "failed")
      raise(
        "STORAGE_POOL_HAS_FAILED_CAPACITY",
        "high",
        `${pool.name} failed: ${pool.failedBytes > 0 ? bytes(pool.failedBytes) : "chunks"} have no good copy within reach`,
      );
    if (onOneCopy(pool) > 0) raise("STORAGE_POOL_HAS_DEGRADED_CAPACITY", "medium", degradedText(pool, status.sds));
    // What cannot be held twice is no use.
    const usable = mirrorableBytes(status.sds.map((sds) => ({ ...sds, faultUnit: sds.faultSet }))) - pool.spareBytes;
    const use = (pool.thickBytes + pool.thinBytes) / Math.max(1, usable);
    const full = `${pool.name} is ${(100 * use).toFixed(0)} % full: add devices or remove data`;
    if (use >= CRITICAL) raise("CAPACITY_UTILIZATION_ABOVE_CRITICAL_THRESHOLD", "high", full);
    else if (use >= HIGH) raise("CAPACITY_UTILIZATION_ABOVE_HIGH_THRESHOLD", "medium", full);
    if (pool.unreachableUnusedBytes > 0)
      raise(
        "STORAGE_POOL_HAS_UNREACHABLE_CAPACITY",
        "low",
        `${bytes(pool.unreachableUnusedBytes)} of free space of ${pool.name} are out of reach`,
      );
    raiseSpare(pool, status, raise);
  }
  return alerts;
}

/** For instance "pool1 degraded: sds-2 stopped since 12:03:11, 3.1 GB on one copy, rebuilding, 40 s left". */
function degradedText(pool: ClusterStatus["pools"][number], sds: ClusterStatus["sds"]): string {
  const down = sds
    .filter(({ state }) => state !== "up")
    .map(({ name, state, since: at }) => `${name} ${word(state)}${since(at)}`);
  const left = pool.rebuildSecondsLeft === null ? "" : `, ${pool.rebuildSecondsLeft} s left`;
  const work = pool.rebuildBytes > 0 ? [`rebuilding ${bytes(pool.rebuildBytes)}${left}`] : [];
  return `${pool.name} degraded: ${[...down, `${bytes(onOneCopy(pool))} on one copy`, ...work].join(", ")}`;
}

/** Also what an SDS in maintenance has the other copy of: it is counted twice (CapacityStates). */
const onOneCopy = ({ degradedHealthyBytes, inMaintenanceBytes }: ClusterStatus["pools"][number]) =>
  degradedHealthyBytes + inMaintenanceBytes / 2;

function raiseSpare(
  pool: ClusterStatus["pools"][number],
  { sds }: Pick<ClusterStatus, "sds">,
  raise: (type: string, severity: Alert["severity"], text: string) => void,
): void {
  const units = new Map<string, number>();
  for (const { faultSet, capacityBytes } of sds) units.set(faultSet, (units.get(faultSet) ?? 0) + capacityBytes);
  if (units.size < FEWEST_FAULT_UNITS)
    raise(
      "NOT_ENOUGH_FAULT_UNITS_IN_SP",
      "high",
      `${pool.name} has ${units.size} fault units and needs ${FEWEST_FAULT_UNITS}: add an SDS`,
    );
  const largest = Math.max(0, ...units.values());
  if (largest > pool.capacityBytes / 2)
    raise(
      "STORAGE_POOL_EXTREMELY_UNBALANCED",
      "medium",
      `more than half of ${pool.name} is in one fault unit, and what is beyond the half has no place for a second copy: add devices elsewhere`,
    );
  const free = Math.max(0, pool.capacityBytes - pool.spareBytes - pool.thickBytes - pool.thinBytes);
  if (pool.spareBytes >= largest) return;
  raise(
    "CONFIGURED_SPARE_CAPACITY_SMALLER_THAN_LARGEST_FAULT_UNIT",
    "low",
    `the spare of ${pool.name}, ${bytes(pool.spareBytes)}, is less than its largest fault unit, ${bytes(largest)}: raise sparePercentage`,
  );
  if (pool.spareBytes + free < largest) {
    raise(
      "SPARE_CAPACITY_AND_FREE_CAPACITY_SMALLER_THAN_LARGEST_FAULT_UNIT",
      "high",
      `${pool.name} cannot take over its largest fault unit, ${bytes(largest)}: add devices or remove data`,
    );
  }
}

/** Nothing of it serves anything, whereas one that has failed lacks a device. */
export const isDisconnected = ({ state }: ClusterStatus["sds"][number]): boolean =>
  state === "stopped" || state === "decoupled";

const word = (state: ServiceState) => (state === "decoupled" ? "silent" : state);

/** For instance "a, b, c and 97 more". */
const few = (names: readonly string[]) =>
  names.slice(0, 3).join(", ") + (names.length > 3 ? ` and ${names.length - 3} more` : "");

const since = (at: string) => (at === "" ? "" : ` since ${at.slice(11, 19)}`);

function bytes(count: number): string {
  if (count >= 1024 ** 3) return `${(count / 1024 ** 3).toFixed(1)} GB`;
  return `${Math.ceil(count / 1024 ** 2)} MB`;
}
