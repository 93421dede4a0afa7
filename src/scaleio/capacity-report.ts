import type { Slices } from "../lib/slices.ts";
import { allLayers, type Layer } from "./layers.ts";
import { type CapacityStates, type Id, isResting, type Sds, type SystemState } from "./model.ts";
import type { Placements } from "./placements.ts";
import { type CapacityLayer, capacityStates } from "./pool/capacity-states.ts";
import { flatGroups, Layout } from "./sdc/layout.ts";
import { usedBytes } from "./sds/volume-files.ts";

/** A place of the map with what is there; undefined where a device was removed. */
export type Place = { readonly sds: Sds; readonly device: Sds["devices"][number] } | undefined;

/** The map's places in index order. */
export function placesOf(state: SystemState): Place[] {
  const all = state.sds.flatMap((sds) => sds.devices.map((device) => ({ sds, device })));
  const byId = new Map(all.map((entry) => [entry.device.id, entry]));
  return state.pool.deviceIds.map((id) => byId.get(id));
}

export const isUp = (place: Place): boolean => place?.sds.state === "up" && place.device.state === "up";

/**
 * The capacity states of the pool, and the bytes used at each place.
 *
 * @param whole whether all copies of a layer are known to be good; others are looked at
 */
export async function poolCapacity(
  state: SystemState,
  placements: Placements,
  slices: Slices,
  whole: (layerId: Id) => boolean,
): Promise<{ states: CapacityStates; used: readonly number[] }> {
  const places = placesOf(state);
  const used = places.map(() => 0);
  const groups = flatGroups(state.pool.groups);
  const copiesOf = (layer: Layer): CapacityLayer["copies"] => {
    try {
      return placements.of(layer, new Layout(layer, groups), state.pool.mapVersion);
    } catch {
      // The health says why.
      return undefined;
    }
  };
  const layerOf = (layer: Layer): CapacityLayer => {
    const bytes = places.map((place) => (place === undefined ? 0 : usedBytes(place.device, layer.id)));
    for (const [place, amount] of bytes.entries()) used[place] = (used[place] as number) + amount;
    const { sizeBytes } = layer;
    const copies = whole(layer.id) ? undefined : copiesOf(layer);
    return { sizeBytes, thick: layer.owner?.thick === true, used: bytes, copies };
  };
  const rows: CapacityLayer[] = [];
  const layers = allLayers(state.volumes.values());
  placements.keep(layers);
  for (const layer of layers.values()) {
    rows.push(layerOf(layer));
    await slices.next();
  }
  const reaches = places.map((place) => {
    const resting = place !== undefined && isResting(place.sds, place.device);
    const reach = isUp(place) ? "up" : resting ? "maintenance" : "down";
    return { capacityBytes: place?.device.capacityBytes ?? 0, reach } as const;
  });
  return { states: capacityStates(reaches, rows, state.pool.sparePercent), used };
}

/** Whether the device at a place of the map can take new files. */
export function livePlaces(state: SystemState): (place: number) => boolean {
  const places = placesOf(state);
  return (place) => isUp(places[place]);
}
