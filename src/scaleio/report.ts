import { Slices } from "../lib/slices.ts";
import { localClock } from "../lib/times.ts";
import { isUp, type Place, placesOf, poolCapacity } from "./capacity-report.ts";
import type { Condition } from "./condition.ts";
import type { FaultBook } from "./faults/fault-book.ts";
import { disconnectOf } from "./faults/sdc-disconnect.ts";
import { allLayers, layersOf, ownLayer } from "./layers.ts";
import type { Mdm } from "./mdm/mdm.ts";
import {
  type CapacityStates,
  CHUNK_BYTES,
  type ClusterStatus,
  type ClusterVolumeStatus,
  type Health,
  type Id,
  type ScanProgress,
  type Sds,
  type ServiceState,
  type SystemState,
  type VolumeLayout,
  type VolumeRecord,
  type WorkKind,
} from "./model.ts";
import { plannerDevices } from "./mover.ts";
import { type Placements, placementsOf } from "./placements.ts";
import { availableBytes, isCritical, thinAvailableBytes } from "./pool/capacity.ts";
import { isOnThree, Plan } from "./pool/plan.ts";
import { farthest, surplus } from "./pool/rebalance.ts";
import type { Repairer } from "./repairer.ts";
import { effectiveStates } from "./sdc/books.ts";
import { BIT, flatGroups, Layout, SLOTS } from "./sdc/layout.ts";
import type { Sdc } from "./sdc/sdc.ts";
import { usedBytes, volumeFile } from "./sds/volume-files.ts";
import { unitOf } from "./sessions.ts";
import { alertsOf } from "./watch/alerts.ts";

/** The parts of a cluster that a report looks at. */
export interface ReportSources {
  readonly mdm: Mdm;
  /** Cluster.isCurrent. */
  readonly isCurrent: boolean;
  readonly sdc: Sdc;
  readonly repairer: Repairer;
  readonly faults: Pick<FaultBook, "faults">;
  readonly stateDir: string;
  readonly placements: Placements;
  readonly granularityBytes: number;
  /** How long so much work will take; null when that is not known. */
  readonly secondsLeft: (kind: WorkKind, bytes: number) => number | null;
  /** See Mover.isSettled. */
  readonly isSettled: () => boolean;
  readonly scans: () => readonly ScanProgress[];
  /** See ClusterStatus. */
  readonly badBlocks: (device: Id) => number;
}

const isThere = (place: Place) => place !== undefined;

/** `rexray-sim status`, as far as the cluster knows. `background`: nobody waits for it. */
export async function clusterStatus(
  sources: ReportSources,
  options: { readonly background: boolean },
): Promise<ClusterStatus> {
  const { mdm } = sources;
  const { state } = mdm;
  const places = placesOf(state);
  const devices = places.filter(isThere);
  const volumes: Awaited<ReturnType<typeof volumeStatus>>[] = [];
  const slices = new Slices(options);
  const known = new Set(sources.sdc.known());
  for (const volume of [...state.volumes.values()]) {
    volumes.push(await volumeStatus(sources, volume, places, known));
    await slices.next();
  }
  const conditions = new Map(volumes.map(({ volume, condition }) => [ownLayer(volume).id, condition]));
  for (const layer of allLayers(state.volumes.values()).values())
    if (layer.owner === undefined) conditions.set(layer.id, sources.repairer.condition(unitOf(layer), undefined));
  const allUp = devices.every(isUp);
  const { states, used } = await poolCapacity(state, sources.placements, slices, (id) => {
    const condition = conditions.get(id);
    return allUp && condition?.staleCopies === 0 && condition.problem === "";
  });
  const capacityBytes = sum(devices.map(({ device }) => device.capacityBytes));
  const provisionedBytes = sum([...state.volumes.values()].map((volume) => volume.sizeBytes));
  const members = mdm.members();
  const down = devices.filter((device) => !isUp(device));
  const poolHealth = worst(volumes.map(({ status }) => status.health));
  const reasons = [
    ...(sources.isCurrent
      ? []
      : ["the MDM has no quorum: all that is shown may be old, and nothing is changed or repaired"]),
    ...state.sds.flatMap(nodeReasons),
    ...members
      .filter((member) => member.state !== "normal")
      .map((member) => `MDM member ${member.name} failed: ${member.reason}`),
    ...volumes.flatMap(({ status, condition }) => volumeReasons(status, condition)),
  ];
  const work = workOf(state, states, used, [...conditions.values()], sources.isSettled());
  const found = {
    isCurrent: sources.isCurrent,
    health: worst([
      poolHealth,
      down.length > 0 ||
      members.some((member) => member.state !== "normal") ||
      volumes.some(({ status }) => status.disconnectedBy !== null)
        ? "degraded"
        : "ok",
    ]),
    reasons,
    mdm: members,
    sds: state.sds.map((sds) => {
      const own = places.flatMap((place, index) => (place?.sds === sds ? [index] : []));
      return {
        name: sds.name,
        state: stateOf(sds),
        reason: sds.devices
          .map((device) => device.reason)
          .filter(Boolean)
          .join("; "),
        since: sinceOf(sds),
        faultSet: sds.faultSet,
        capacityBytes: sum(sds.devices.map((device) => device.capacityBytes)),
        usedBytes: sum(own.map((index) => used[index] ?? 0)),
        badBlocks: sum(sds.devices.map(({ id }) => sources.badBlocks(id))),
        deviceNames: sds.devices.map((device) => device.name),
        devices: sds.devices.map((device) => device.path),
      };
    }),
    pools: [
      {
        name: state.pool.name,
        health: poolHealth,
        protectionDomain: state.pool.protectionDomain,
        capacityBytes,
        ...states,
        usedBytes: sum(used),
        provisionedBytes,
        availableBytes: availableBytes(state, states.thinBytes, sources.granularityBytes),
        thinAvailableBytes: thinAvailableBytes(state, states.thinBytes, sources.granularityBytes),
        rebuildBytes: work.rebuild,
        rebuildSecondsLeft: sources.secondsLeft("rebuild", work.rebuild),
        rebalanceBytes: work.rebalance,
        rebalanceSecondsLeft: sources.secondsLeft("rebalance", work.rebalance),
        absorbBytes: work.absorb,
        absorbSecondsLeft: sources.secondsLeft("absorb", work.absorb),
        imbalance: work.imbalance,
        unbalancedDevice: work.unbalancedDevice,
      },
    ],
    scans: sources.scans(),
    volumes: volumes.map(({ status }) => status),
  };
  return { ...found, alerts: alertsOf(found) };
}

/** Raw bytes of each kind of work, and how far the pool is out of balance. */
function workOf(
  state: SystemState,
  { degradedHealthyBytes, semiProtectedBytes, thinBytes }: CapacityStates,
  used: readonly number[],
  conditions: readonly Condition[],
  isSettled: boolean,
): { readonly [kind in WorkKind]: number } & Pick<ClusterStatus["pools"][number], "imbalance" | "unbalancedDevice"> {
  const count = (what: (condition: Condition) => number) => sum(conditions.map(what));
  const { groups } = state.pool;
  const plan = new Plan(groups, plannerDevices(state));
  const surpluses = surplus(plan, { rebalance: !isCritical(state, thinBytes) && !isSettled });
  const surplusBytes = sum(used.map((bytes, place) => bytes * (surpluses[place] ?? 0)));
  // What stands in for a copy in maintenance is not completed.
  const onThree = groups.filter((group, number) => isOnThree(group) && !plan.has(number, "resting"));
  // What is in maintenance waits for its node, and so does what is lost, for the grace period: it has no third place then.
  const begun = placesOf(state).every((place) => place === undefined || isUp(place)) || onThree.length > 0;
  const unsynced = CHUNK_BYTES * count(({ unsyncedChunks }) => unsyncedChunks);
  const rebuild = (begun ? degradedHealthyBytes : 0) + semiProtectedBytes / 2 + unsynced;
  const isOff = (number: number) => (["lost", "leaving", "resting"] as const).some((how) => plan.has(number, how));
  const otherFirst = rebuild > 0 || groups.some((_, number) => isOff(number));
  const { device, off } = isSettled || otherFirst ? { device: -1, off: 0 } : farthest(plan);
  const place = off === 0 ? undefined : placesOf(state)[device];
  // Of the copies that are being made elsewhere some chunks are there already, though the old ones are still kept.
  const chunks = sum([...allLayers(state.volumes.values()).values()].map(({ sizeBytes }) => sizeBytes / CHUNK_BYTES));
  const moving = onThree.filter((group) => group[3] === 0).length;
  const there = rebuild > 0 || chunks === 0 ? 0 : moving / groups.length - count((one) => one.staleCopies) / chunks;
  return {
    rebuild,
    rebalance: Math.ceil(Math.max(0, surplusBytes - (Math.max(0, there) * sum(used)) / 2)),
    absorb: CHUNK_BYTES * count(({ absorbing }) => absorbing),
    imbalance: off,
    unbalancedDevice: place === undefined ? "" : `${place.sds.name}/${place.device.name}`,
  };
}

/** `rexray-sim volume inspect`. */
export async function volumeLayout(
  sources: ReportSources,
  volume: VolumeRecord,
  withChunks: boolean,
): Promise<VolumeLayout> {
  const { state } = sources.mdm;
  const places = placesOf(state);
  const { status } = await volumeStatus(sources, volume, places, new Set([volume.id]));
  const layout = new Layout(volume, flatGroups(state.pool.groups));
  const states = effectiveStates(sources.stateDir, layersOf(volume), layout);
  const layers = layersOf(volume);
  const rowAt = places.map(
    (place) =>
      place && {
        sds: place.sds.name,
        device: place.device.name,
        file: volumeFile(place.device, ownLayer(volume).id),
        primaryChunks: 0,
        secondaryChunks: 0,
        usedBytes: sum(layers.map(({ id }) => usedBytes(place.device, id))),
        staleChunks: 0,
      },
  );
  const rows = rowAt.filter((row) => row !== undefined);
  const chunks = [];
  for (let chunk = 0; chunk < layout.chunks; chunk++) {
    // The first two copies that count; a third one is on its way to take the place of one of them.
    const active = layout.active(chunk);
    const held = SLOTS.filter((slot) => (active & BIT[slot]) !== 0);
    const [primary, secondary, third] = held.map((slot) => rowAt[layout.device(chunk, slot)]);
    if (primary !== undefined) primary.primaryChunks++;
    if (secondary !== undefined) secondary.secondaryChunks++;
    const stale = held
      .filter((slot) => ((states[chunk] ?? 0) & BIT[slot]) !== 0)
      .flatMap((slot) => rowAt[layout.device(chunk, slot)] ?? []);
    for (const row of stale) row.staleChunks++;
    if (withChunks) {
      chunks.push({
        chunk,
        primary: primary?.sds ?? "",
        secondary: secondary?.sds ?? "",
        ...(third === undefined ? {} : { third: third.sds }),
        stale: stale.map((row) => row.sds),
      });
    }
  }
  return {
    ...status,
    createdAt: volume.createdAt,
    fsType: volume.fsType,
    iops: volume.iops,
    bytesPerSecond: volume.bytesPerSecond ?? 0,
    pool: state.pool.name,
    mapVersion: state.pool.mapVersion,
    chunkBytes: CHUNK_BYTES,
    usedBytes: sum(rows.map((row) => row.usedBytes)),
    devices: rows,
    ...(withChunks ? { chunks } : {}),
  };
}

/** `known`: volumes that may have an engine. */
async function volumeStatus(
  sources: ReportSources,
  volume: VolumeRecord,
  places: readonly Place[],
  known: ReadonlySet<Id>,
): Promise<{ volume: VolumeRecord; status: ClusterVolumeStatus; condition: Condition }> {
  const { sdc, repairer, stateDir, placements } = sources;
  const { pool } = sources.mdm.state;
  const device = (known.has(volume.id) ? await sdc.device(volume.id) : undefined) ?? null;
  const engine = device === null ? undefined : sdc.status(volume.id);
  const condition = repairer.condition(volume.id, engine);
  let { degraded, failed } = { degraded: condition.unsyncedChunks, failed: 0 };
  // Only a volume that is not plainly good is worth the walk over its chunks.
  const layered = (volume.lower?.length ?? 0) > 0;
  if (condition.problem === "" && (condition.staleCopies > 0 || layered || !places.filter(isThere).every(isUp))) {
    const layout = new Layout(volume, flatGroups(pool.groups));
    const alike = layered
      ? placementsOf(layout, effectiveStates(stateDir, layersOf(volume), layout))
      : placements.of({ id: ownLayer(volume).id, sizeBytes: volume.sizeBytes }, layout, pool.mapVersion);
    for (const { places: where, chunks } of alike) {
      const good = where.filter((place) => isUp(places[place])).length;
      if (good < 2) degraded += chunks;
      if (good === 0) failed += chunks;
    }
  }
  const health: Health = condition.problem !== "" || failed > 0 ? "failed" : degraded > 0 ? "degraded" : "ok";
  return {
    volume,
    condition,
    status: {
      name: volume.name,
      id: volume.id,
      sizeBytes: volume.sizeBytes,
      health,
      mappedTo: volume.mappedTo,
      snapshotOf:
        volume.ancestorId === undefined
          ? null
          : ((volume.ancestorId && sources.mdm.state.volumes.get(volume.ancestorId)?.name) ?? ""),
      device,
      disconnectedBy: (device && disconnectOf(sources.faults.faults, volume)?.name) ?? null,
      degradedChunks: degraded,
      failedChunks: failed,
      supervisorPid: engine?.supervisorPid ?? null,
      enginePid: engine?.pid ?? null,
    },
  };
}

/** Decoupled: nothing of it answers. Failed: some of it does not. */
function stateOf({ state, devices }: Sds): ServiceState {
  if (state !== "up" || devices.every((device) => device.state === "up")) return state;
  return devices.every((device) => device.state === "decoupled") ? "decoupled" : "failed";
}

/** When it came into that state: when the last of its devices went, if it was not the node as a whole. */
function sinceOf(sds: Sds): string {
  const down = sds.state === "up" ? sds.devices.filter(({ state }) => state !== "up") : [];
  return (
    down
      .map(({ since = "" }) => since)
      .toSorted()
      .at(-1) ??
    sds.since ??
    ""
  );
}

function nodeReasons(sds: Sds): string[] {
  const { name, devices } = sds;
  const start = `\`rexray-sim sds start ${name}\``;
  if (sds.maintenance === true && sds.state !== "up") return [`${name} is in maintenance: ${start}`];
  const state = stateOf(sds);
  if (state === "stopped") return [`${name} is stopped: ${start}`];
  if (state === "decoupled")
    return [`${name} is decoupled, silent since ${localClock(sinceOf(sds))}: ${devices[0]?.reason}`];
  return devices
    .filter((device) => device.state !== "up")
    .map((device) => `device ${name}/${device.name} ${device.state}: ${device.reason}`);
}

function volumeReasons(status: ClusterVolumeStatus, condition: Condition): string[] {
  const { name, disconnectedBy } = status;
  const text = copiesText(status, condition);
  const cutOff = `its SDC reaches no SDS, so its I/O waits: \`rexray-sim fault rm ${disconnectedBy}\``;
  return [...(disconnectedBy === null ? [] : [cutOff]), ...(text === "" ? [] : [text])].map(
    (reason) => `volume ${name}: ${reason}`,
  );
}

/** What is wrong with a volume's copies; "": nothing. */
function copiesText({ health, failedChunks, degradedChunks }: ClusterVolumeStatus, condition: Condition): string {
  if (condition.problem !== "") return condition.problem;
  if (failedChunks > 0)
    return `${failedChunks} of its MiB chunks have no good copy within reach; reading them fails until their SDS is back`;
  if (health === "ok") return "";
  const waiting = condition.staleCopies + condition.unsyncedChunks;
  return `${degradedChunks} of its MiB chunks have one good copy${waiting > 0 ? `, ${waiting} copies waiting to be rebuilt` : ""}`;
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0);
const ORDER: readonly Health[] = ["ok", "degraded", "failed"];
const worst = (healths: readonly Health[]): Health =>
  ORDER[Math.max(0, ...healths.map((health) => ORDER.indexOf(health)))] as Health;
