import type { Id, LayerRef, VolumeRecord } from "./model.ts";

/** A layer as all volumes together see it. */
export interface Layer extends LayerRef {
  /** The frozen layers beneath it, the nearest first. */
  readonly lower: readonly LayerRef[];
  readonly firstGroup: number;
  /** The volume that writes to it; undefined: it is frozen. */
  readonly owner: VolumeRecord | undefined;
  /** All volumes whose data is partly in it. */
  readonly volumes: readonly VolumeRecord[];
  /** How many layers beneath, the nearest first, only lead to this one: it is to take over what it shows of them. */
  readonly absorb: number;
}

/** The layer a volume writes to. */
export const ownLayer = (volume: VolumeRecord): LayerRef => ({
  id: volume.layerId ?? volume.id,
  sizeBytes: volume.sizeBytes,
});

/** A volume's layers, its own first. */
export const layersOf = (volume: VolumeRecord): readonly LayerRef[] => [ownLayer(volume), ...(volume.lower ?? [])];

/** The volumes that may have layers in common with this one, itself among them. */
export function familyOf(volumes: Iterable<VolumeRecord>, volume: VolumeRecord): VolumeRecord[] {
  if (volume.lower === undefined || volume.lower.length === 0) return [volume];
  const tree = volume.vtreeId ?? volume.id;
  return [...volumes].filter(({ id, vtreeId }) => (vtreeId ?? id) === tree);
}

/** One layer as all volumes see it, without a look at all the others; undefined: no volume needs it. */
export function layerWith(volumes: Iterable<VolumeRecord>, id: Id): Layer | undefined {
  const all = [...volumes];
  const one = all.find((volume) => ownLayer(volume).id === id || volume.lower?.some((layer) => layer.id === id));
  return one && allLayers(familyOf(all, one)).get(id);
}

/** All layers that some volume needs, by id. What lies on the devices beyond these is nobody's. */
export function allLayers(volumes: Iterable<VolumeRecord>): ReadonlyMap<Id, Layer> {
  const found = new Map<Id, Omit<Layer, "absorb"> & { volumes: VolumeRecord[] }>();
  const children = new Map<Id, Set<Id>>();
  for (const volume of volumes) {
    const chain = layersOf(volume);
    chain.forEach((ref, index) => {
      const layer = found.get(ref.id);
      if (layer !== undefined) layer.volumes.push(volume);
      else {
        const owner = index === 0 ? volume : undefined;
        found.set(ref.id, {
          ...ref,
          lower: chain.slice(index + 1),
          firstGroup: volume.firstGroup,
          owner,
          volumes: [volume],
        });
      }
      const above = chain[index - 1];
      if (above !== undefined) children.set(ref.id, (children.get(ref.id) ?? new Set()).add(above.id));
    });
  }
  const only = (id: Id) => children.get(id)?.size === 1;
  return new Map(
    [...found].map(([id, layer]) => {
      // What is to be absorbed itself takes over nothing more: it would be copied again, once for each layer of a long row.
      if (only(id)) return [id, { ...layer, absorb: 0 }];
      const end = layer.lower.findIndex((ref) => !only(ref.id));
      return [id, { ...layer, absorb: end < 0 ? layer.lower.length : end }];
    }),
  );
}
