import { type CapacityStates, CHUNK_BYTES } from "../model.ts";
import { spareBytes } from "./capacity.ts";

/** A place of the map. */
export interface CapacityPlace {
  readonly capacityBytes: number;
  readonly reach: "up" | "maintenance" | "down";
}

/** How many chunks have their good copies in these places, and in those copies that are to be made good. */
export interface Copies {
  readonly places: readonly number[];
  readonly incomplete: readonly number[];
  readonly chunks: number;
}

/** What a layer takes, and where. */
export interface CapacityLayer {
  readonly sizeBytes: number;
  readonly thick: boolean;
  /** Allocated bytes, a place each. */
  readonly used: readonly number[];
  /** Where the chunks that the layer holds have their copies; undefined: all is well. */
  readonly copies: readonly Copies[] | undefined;
}

/**
 * How much of a chunk is allocated is not known; what a layer takes of a place is divided evenly among the copies it has there.
 */
export function capacityStates(
  places: readonly CapacityPlace[],
  layers: Iterable<CapacityLayer>,
  sparePercent: number,
): CapacityStates {
  const raw = sum(places.map(({ capacityBytes }) => capacityBytes));
  const taken = places.map(() => 0);
  const states = { ...NONE };
  let [thickBytes, allBytes] = [0, 0];
  for (const layer of layers) {
    layer.used.forEach((bytes, place) => {
      taken[place] = (taken[place] as number) + bytes;
    });
    const used = sum(layer.used);
    const setAside = layer.thick ? Math.max(0, 2 * layer.sizeBytes - used) : 0;
    if (layer.thick) thickBytes += used + setAside;
    allBytes += used + setAside;
    const own = layer.copies === undefined ? { ...NONE, protected: used } : divide(places, layer, layer.copies);
    states.protected += own.protected + setAside;
    states.maintenance += own.maintenance;
    states.semi += own.semi;
    states.healthy += own.healthy;
    states.failed += own.failed;
  }
  const spare = spareBytes(raw, sparePercent);
  const inUse = states.protected + states.maintenance + states.semi + states.healthy;
  const unreachable = sum(
    places.map(({ capacityBytes, reach }, place) =>
      reach === "up" ? 0 : Math.max(0, capacityBytes - (taken[place] as number)),
    ),
  );
  return {
    spareBytes: spare,
    inUseBytes: inUse,
    thickBytes,
    thinBytes: allBytes - thickBytes,
    protectedBytes: states.protected,
    inMaintenanceBytes: states.maintenance,
    semiProtectedBytes: states.semi,
    degradedHealthyBytes: states.healthy,
    degradedFailedBytes: states.healthy,
    failedBytes: states.failed,
    unreachableUnusedBytes: unreachable,
    unusedBytes: Math.max(0, raw - spare - inUse - states.healthy - states.failed - unreachable),
  };
}

const NONE = { protected: 0, maintenance: 0, semi: 0, healthy: 0, failed: 0 };

function divide(
  places: readonly CapacityPlace[],
  layer: CapacityLayer,
  copies: NonNullable<CapacityLayer["copies"]>,
): typeof NONE {
  const count = places.map(() => 0);
  for (const alike of copies) for (const place of alike.places) count[place] = (count[place] as number) + alike.chunks;
  const bytesOf = (place: number) => Math.min(CHUNK_BYTES, (layer.used[place] as number) / (count[place] as number));
  const states = { ...NONE };
  for (const alike of copies) {
    const isUp = (place: number) => places[place]?.reach === "up";
    const up = alike.places.filter(isUp);
    // Stale or not: what it missed is copied to it when it is back.
    const resting = [...alike.places, ...alike.incomplete].some((place) => places[place]?.reach === "maintenance");
    const bytes = alike.chunks * sum((up.length > 0 ? up : alike.places).map(bytesOf));
    if (up.length > 1) states.protected += bytes;
    else if (up.length === 0) states.failed += bytes;
    else if (resting) states.maintenance += 2 * bytes;
    else if (alike.incomplete.some(isUp)) states.semi += 2 * bytes;
    else states.healthy += bytes;
  }
  return states;
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0);
