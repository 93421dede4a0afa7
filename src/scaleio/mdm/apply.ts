import type { Change, Device, Id, Pool, Sds, SystemState, VolumeRecord } from "../model.ts";

/** The MDM's tables, as one member keeps them in memory. */
export interface Tables extends SystemState {
  systemId: Id;
  lastId: number;
  pool: Pool;
  sds: readonly Sds[];
  readonly volumes: Map<Id, VolumeRecord>;
}

const NO_POOL: Pool = {
  id: "",
  name: "",
  protectionDomain: "",
  sparePercent: 0,
  mapVersion: 0,
  deviceIds: [],
  groups: [],
};

/** The tables of a system that has not been founded: systemId is "". */
export const emptyTables = (): Tables => ({ systemId: "", lastId: 0, pool: NO_POOL, sds: [], volumes: new Map() });

/** Applies one change in place; its cost does not depend on the number of volumes. Changes of unknown objects do nothing. */
export function apply(tables: Tables, change: Change): void {
  switch (change.type) {
    case "system-created":
      tables.systemId = change.systemId;
      tables.lastId = change.lastId;
      tables.pool = change.pool;
      tables.sds = change.sds;
      return;
    case "volume-created":
      tables.volumes.set(change.volume.id, change.volume);
      tables.lastId = Math.max(tables.lastId, Number.parseInt(change.volume.id.slice(8), 16));
      return;
    case "snapshots-created":
      for (const volume of change.volumes) tables.volumes.set(volume.id, volume);
      tables.lastId = Math.max(tables.lastId, change.lastId);
      return;
    case "volumes-changed":
      for (const { id, to } of change.volumes) {
        const volume = tables.volumes.get(id);
        if (volume !== undefined) tables.volumes.set(id, { ...volume, ...to });
      }
      tables.lastId = Math.max(tables.lastId, change.lastId);
      return;
    case "volume-removed": {
      const removed = tables.volumes.get(change.id);
      tables.volumes.delete(change.id);
      // Its snapshots become those of its own origin (spec/scaleio.md 1.5). Only a family has any.
      if (removed?.vtreeId === undefined && removed?.layerId === undefined) return;
      for (const [id, volume] of tables.volumes)
        if (volume.ancestorId === change.id)
          tables.volumes.set(id, { ...volume, ancestorId: removed.ancestorId ?? null });
      return;
    }
    case "volume-mapped": {
      const volume = tables.volumes.get(change.id);
      if (volume !== undefined) tables.volumes.set(change.id, { ...volume, mappedTo: change.to });
      return;
    }
    case "pool-checksum":
      tables.pool = { ...tables.pool, checksum: change.on };
      break;
    case "groups-changed": {
      const groups = [...tables.pool.groups];
      for (const [number, group] of change.groups) groups[number] = group;
      tables.pool = { ...tables.pool, groups };
      break;
    }
    case "sds-added":
      tables.sds = [...tables.sds, change.sds];
      tables.lastId = Math.max(tables.lastId, change.lastId);
      for (const { id } of change.sds.devices) takePlace(tables, id);
      break;
    case "sds-removed":
      for (const { id } of tables.sds.find(({ name }) => name === change.name)?.devices ?? []) leavePlace(tables, id);
      tables.sds = tables.sds.filter(({ name }) => name !== change.name);
      break;
    case "sds-state":
      tables.sds = tables.sds.map((sds) =>
        sds.name === change.name ? { ...sds, state: change.state, since: change.since ?? "" } : sds,
      );
      break;
    case "sds-maintenance":
      tables.sds = tables.sds.map((sds) => (sds.name === change.name ? { ...sds, maintenance: change.on } : sds));
      break;
    case "sds-leaving":
      tables.sds = tables.sds.map((sds) => (sds.name === change.name ? { ...sds, leaving: change.leaving } : sds));
      break;
    case "device-added":
      tables.sds = tables.sds.map((sds) =>
        sds.name === change.sds ? { ...sds, devices: [...sds.devices, change.device] } : sds,
      );
      tables.lastId = Math.max(tables.lastId, change.lastId);
      takePlace(tables, change.device.id);
      break;
    case "device-state":
      changeDevice(tables, change.id, (device) => {
        const { state, reason, since = "" } = change;
        return { ...device, state, reason, since };
      });
      break;
    case "device-leaving":
      changeDevice(tables, change.id, (device) => ({ ...device, leaving: change.leaving }));
      break;
    case "device-resized":
      changeDevice(tables, change.id, (device) => ({ ...device, capacityBytes: change.capacityBytes }));
      break;
    case "device-removed":
      leavePlace(tables, change.id);
      tables.sds = tables.sds.map((sds) => ({ ...sds, devices: sds.devices.filter(({ id }) => id !== change.id) }));
      break;
  }
  // What an engine goes by has changed.
  tables.pool = { ...tables.pool, mapVersion: tables.pool.mapVersion + 1 };
}

function changeDevice(tables: Tables, id: Id, to: (device: Device) => Device): void {
  tables.sds = tables.sds.map((sds) =>
    sds.devices.some((device) => device.id === id)
      ? { ...sds, devices: sds.devices.map((device) => (device.id === id ? to(device) : device)) }
      : sds,
  );
}

/** Gives a device the first free place in the map. A place is free only when no group refers to it any more. */
function takePlace(tables: Tables, id: Id): void {
  const free = tables.pool.deviceIds.indexOf("");
  const deviceIds = free < 0 ? [...tables.pool.deviceIds, id] : tables.pool.deviceIds.with(free, id);
  tables.pool = { ...tables.pool, deviceIds };
}

function leavePlace(tables: Tables, id: Id): void {
  tables.pool = { ...tables.pool, deviceIds: tables.pool.deviceIds.map((other) => (other === id ? "" : other)) };
}
