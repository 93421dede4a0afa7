import { type Layer, layersOf, ownLayer } from "../../../../src/scaleio/layers.ts";
import type { LayerRef, VolumeRecord } from "../../../../src/scaleio/model.ts";
import type { Volume } from "./layers.ts";
import { MOST_CHUNKS } from "./pool.ts";
import { MIB } from "./units.ts";
import { repairAside } from "./upkeep.ts";
import type { Mounted, World } from "./world.ts";

const MOST_VOLUMES = 3;

/** The volume goes over to a layer of its own; when the old one is settled, a snapshot of it is recorded. */
export function snapshot(world: World, volume: Mounted): void {
  if (world.volumes.length >= MOST_VOLUMES) return;
  if (!freeze(world, volume)) return;
  const { lower, sizeBytes } = volume.record;
  const record: Volume = { id: world.newId(), sizeBytes, firstGroup: 0, lower: lower ?? [] };
  world.disk.undisturbed(() => world.layers.create(ownLayer(record as VolumeRecord), sizeBytes / MIB));
  const snapshot = world.addVolume(record, volume.model.copy());
  world.tellAll({ mayDie: false });
  world.open(snapshot);
}

function freeze(world: World, volume: Mounted): boolean {
  // What cannot be read cannot be settled.
  if (world.layers.isOutOfReach(layersOf(volume.record as VolumeRecord)) || volume.model.suspects.length > 0)
    return false;
  // What is not settled is not to be shared.
  const isSettled = (layer: LayerRef) => world.layers.activeRegions(layer).length === 0;
  if (!(volume.record.lower ?? []).every(isSettled)) return false;
  const old = ownLayer(volume.record as VolumeRecord);
  const id = world.newId();
  world.disk.undisturbed(() => world.layers.create({ id, sizeBytes: old.sizeBytes }, old.sizeBytes / MIB));
  volume.record.layerId = id;
  volume.record.lower = [old, ...(volume.record.lower ?? [])];
  volume.session = world.layers.sessionOf(volume);
  world.do(volume, (store) => store.seal());
  volume.store = undefined;
  world.open(volume);
  // Sealing syncs all.
  volume.model.flushed();
  return isSettled(old);
}

export function grow(world: World, volume: Mounted): void {
  const sizeBytes = Math.min(MOST_CHUNKS, volume.record.sizeBytes / MIB + 1 + Math.floor(world.random() * 2)) * MIB;
  const session = { ...world.layers.sessionOf(volume), sizeBytes };
  world.do(volume, (store) => store.reload(session));
  // A death before the MDM's word is a growth that did not come about.
  volume.record.sizeBytes = sizeBytes;
  volume.session = session;
}

export function remove(world: World, volume: Mounted): void {
  if (world.volumes.length < 2) return;
  world.do(volume, (store) => store.close());
  const chain = layersOf(volume.record as VolumeRecord);
  world.volumes.splice(world.volumes.indexOf(volume), 1);
  world.disk.undisturbed(() => world.layers.sweep(chain.map(({ id }) => id)));
  world.tellAll({ mayDie: true });
}

/** The volume, not mapped for a moment, takes the content of another one. */
export function overwrite(world: World, volume: Mounted): void {
  const source = world.pick(world.volumes);
  if (source === volume || source.record.sizeBytes < volume.record.sizeBytes) return;
  if (!freeze(world, source)) return;
  world.do(volume, (store) => store.close());
  volume.store = undefined;
  const before = layersOf(volume.record as VolumeRecord);
  const { sizeBytes, lower } = source.record;
  const id = world.newId();
  world.disk.undisturbed(() => world.layers.create({ id, sizeBytes }, sizeBytes / MIB));
  Object.assign(volume.record, { layerId: id, lower, sizeBytes });
  volume.model.become(source.model);
  volume.session = world.layers.sessionOf(volume);
  world.disk.undisturbed(() => world.layers.sweep(before.map((layer) => layer.id)));
  world.open(volume);
  world.tellAll({ mayDie: true });
}

/** The volume is unmounted, repaired by a process of its own perhaps, and mounted again. */
export function detach(world: World, volume: Mounted): void {
  world.do(volume, (store) => store.close());
  volume.store = undefined;
  volume.session = world.layers.sessionOf(volume);
  const layer = world.layers.all().get(ownLayer(volume.record as VolumeRecord).id) as Layer;
  if (world.random() < 0.7) world.tryTo(() => repairAside(world, layer, 1 + Math.floor(world.random() * 6)));
  world.open(volume);
}
