import type { FaultBook } from "./faults/fault-book.ts";
import { disconnectOf, limitMsOf } from "./faults/sdc-disconnect.ts";
import type { Layer } from "./layers.ts";
import { isResting, type SystemState } from "./model.ts";
import { recordDir } from "./sdc/books.ts";
import { flatGroups } from "./sdc/layout.ts";
import type { Session } from "./sdc/session.ts";
import { volumeFile } from "./sds/volume-files.ts";

/** Run directory and name of a layer's repair: that of its volume, which has no engine then, or one of its own. */
export const unitOf = (layer: Pick<Layer, "id" | "owner">): string => layer.owner?.id ?? `layer-${layer.id}`;

/** What an engine of the layer has to know, by the state as it is now. */
export function sessionOf(
  state: SystemState,
  stateDir: string,
  layer: Layer,
  faults: Pick<FaultBook, "on" | "faults">,
): Session {
  const { pool, sds } = state;
  const byId = new Map(sds.flatMap((node) => node.devices.map((device) => [device.id, { node, device }] as const)));
  const places = pool.deviceIds.map((id) => byId.get(id));
  const filesOf = (layerId: string) =>
    places.map((place) => (place === undefined ? "" : volumeFile(place.device, layerId)));
  const files = filesOf(layer.id);
  const disconnect = layer.owner && disconnectOf(faults.faults, layer.owner);
  return {
    format: 1,
    volumeId: unitOf(layer),
    layerId: layer.id,
    sizeBytes: layer.sizeBytes,
    mapVersion: pool.mapVersion,
    devices: places.map((place, index) => {
      if (place === undefined) return { name: "", file: "", state: "stopped" };
      const { node, device } = place;
      // Whether one that is decoupled can be reached is for the engine to find out, when nobody else has the data.
      const standing = node.state === "up" ? device.state : node.state;
      const state = standing === "decoupled" ? "failed" : standing;
      const name = `${node.name}/${device.name}`;
      const resting = isResting(node, device);
      return { name, file: files[index] as string, state, resting, faults: faults.on(node, device) };
    }),
    groups: flatGroups(pool.groups),
    firstGroup: layer.firstGroup,
    recordDir: recordDir(stateDir, layer.id),
    lower: layer.lower.map(({ id, sizeBytes }) => ({
      id,
      sizeBytes,
      files: filesOf(id),
      recordDir: recordDir(stateDir, id),
    })),
    absorb: layer.absorb,
    checksum: pool.checksum === true,
    limits: { iops: layer.owner?.iops ?? 0, bytesPerSecond: layer.owner?.bytesPerSecond ?? 0 },
    giveUp: true,
    ...(layer.owner === undefined ? { frozen: true } : {}),
    ...(disconnect === undefined ? {} : { disconnected: { limitMs: limitMsOf(disconnect) } }),
  };
}
