import { randomBytes } from "node:crypto";
import { makeDirectory } from "../lib/make-directory.ts";
import type { ClusterConfig } from "./cluster-options.ts";
import type { Mdm } from "./mdm/mdm.ts";
import { CHUNK_BYTES, type Id, type Sds } from "./model.ts";
import { groupCountFor, placeGroups } from "./pool/placement.ts";
import { createLabel } from "./sds/device-label.ts";

/** Ids read as the product's do: 16 hex digits, the high half a tag of the system, the low half a rising number. */
export const idOf = (systemId: Id, number: number): Id => systemId.slice(0, 8) + number.toString(16).padStart(8, "0");

/**
 * Makes the system that the configuration describes: directories and labels first, the MDM's word last, so that a founding
 * that was interrupted is simply begun again.
 */
export async function found(mdm: Mdm, config: ClusterConfig): Promise<void> {
  const systemId = randomBytes(8).toString("hex");
  let number = 0;
  const nextId = () => idOf(systemId, ++number);
  const sds: Sds[] = config.sds.map((node) => ({
    id: nextId(),
    name: node.name,
    faultSet: node.faultSet,
    state: "up",
    devices: node.devices.map((device) => ({
      id: nextId(),
      name: device.name,
      path: device.path,
      capacityBytes: device.sizeBytes - (device.sizeBytes % CHUNK_BYTES),
      state: "up",
      reason: "",
    })),
  }));
  const flat = sds.flatMap((node) => node.devices.map((device) => ({ node, device })));
  for (const { node, device } of flat) {
    makeDirectory(device.path);
    createLabel(device.path, { systemId, sdsName: node.name, deviceId: device.id });
  }
  const units = flat.map(({ node, device }) => ({ capacityBytes: device.capacityBytes, faultUnit: node.faultSet }));
  const poolId = nextId();
  await mdm.commit({
    type: "system-created",
    systemId,
    lastId: number,
    pool: {
      id: poolId,
      name: config.pool,
      protectionDomain: config.protectionDomain,
      sparePercent: config.sparePercentage,
      mapVersion: 1,
      deviceIds: flat.map(({ device }) => device.id),
      groups: placeGroups(units, groupCountFor(flat.length)),
    },
    sds,
  });
}

/** Volumes are made with checksums or without: a pool changes that only while it has none. */
export async function followChecksum(mdm: Mdm, on: boolean, log: (message: string) => void): Promise<void> {
  const { pool, volumes } = mdm.state;
  if ((pool.checksum === true) === on) return;
  if (volumes.size === 0) await mdm.commit({ type: "pool-checksum", on });
  else log(`simulator.checksum is ${on} and pool ${pool.name} stays as it was made: remove its volumes to change that`);
}
