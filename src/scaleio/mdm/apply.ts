import type { Change, Id, Pool, Sds, SystemState, VolumeRecord } from "../model.ts";

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
    case "volume-removed":
      tables.volumes.delete(change.id);
      return;
    case "volume-mapped": {
      const volume = tables.volumes.get(change.id);
      if (volume !== undefined) tables.volumes.set(change.id, { ...volume, mappedTo: change.to });
      return;
    }
    case "sds-state":
      tables.sds = tables.sds.map((sds) => (sds.name === change.name ? { ...sds, state: change.state } : sds));
      break;
    case "device-state":
      tables.sds = tables.sds.map((sds) =>
        sds.devices.some(({ id }) => id === change.id)
          ? {
              ...sds,
              devices: sds.devices.map((device) =>
                device.id === change.id ? { ...device, state: change.state, reason: change.reason } : device,
              ),
            }
          : sds,
      );
      break;
  }
  // What an engine goes by has changed.
  tables.pool = { ...tables.pool, mapVersion: tables.pool.mapVersion + 1 };
}
