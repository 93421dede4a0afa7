import { type Layer, layersOf, ownLayer } from "../../../../src/scaleio/layers.ts";
import type { LayerRef } from "../../../../src/scaleio/model.ts";
import { MOST_CHUNKS } from "./pool.ts";
import { MIB } from "./units.ts";
import { repairAside } from "./upkeep.ts";
import type { Mounted, World } from "./world.ts";

const MOST_VOLUMES = 3;

/** The volume goes over to a layer of its own; when the old one is settled, a snapshot of it is recorded. */
export async function snapshot(world: World, volume: Mounted): Promise<void> {
  if (world.volumes.length >= MOST_VOLUMES) return;
  if (!(await freeze(world, volume))) return;
  const { lower = [], sizeBytes } = volume.record;
  const record = world.newVolume({ sizeBytes, lower });
  world.disk.undisturbed(() => world.layers.create(ownLayer(record), sizeBytes / MIB));
  // What the volume holds now: if it takes a while until it is known whether there is a snapshot, the volume goes on.
  const content = volume.model.copy();
  await world.mdm.commit(
    { type: "snapshots-created", volumes: [record], lastId: 0 },
    { done: () => world.addVolume(record.id, content), undone: () => world.layers.sweep([record.id]) },
  );
  world.tellAll({ mayDie: false });
  world.mount(world.volumes.at(-1) as Mounted);
}

async function freeze(world: World, volume: Mounted): Promise<boolean> {
  // What cannot be read cannot be settled.
  if (world.layers.isOutOfReach(layersOf(volume.record)) || volume.model.suspects.length > 0) return false;
  // What is not settled is not to be shared.
  const isSettled = (layer: LayerRef) => world.layers.activeRegions(layer).length === 0;
  const { id, lower = [] } = volume.record;
  if (!lower.every(isSettled)) return false;
  const old = ownLayer(volume.record);
  const layerId = world.newId();
  world.disk.undisturbed(() => world.layers.create({ id: layerId, sizeBytes: old.sizeBytes }, old.sizeBytes / MIB));
  await world.mdm.commit(
    { type: "volumes-changed", volumes: [{ id, to: { layerId, lower: [old, ...lower] } }], lastId: 0 },
    { undone: () => world.layers.sweep([layerId]) },
  );
  world.isUntold = true;
  world.address(volume);
  world.follow(volume);
  world.isUntold = false;
  return isSettled(old);
}

export async function grow(world: World, volume: Mounted): Promise<void> {
  const { id, sizeBytes: before } = volume.record;
  const sizeBytes = Math.min(MOST_CHUNKS, before / MIB + 1 + Math.floor(world.random() * 2)) * MIB;
  const session = { ...world.layers.sessionOf(volume), sizeBytes };
  world.reload(volume, session);
  // A death before the MDM's word is a growth that did not come about.
  await world.mdm.commit({ type: "volumes-changed", volumes: [{ id, to: { sizeBytes } }], lastId: 0 });
  volume.session = session;
}

export async function remove(world: World, volume: Mounted): Promise<void> {
  if (world.volumes.length < 2) return;
  world.unmount(volume);
  const { id } = volume.record;
  const chain = layersOf(volume.record);
  await world.mdm.commit(
    { type: "volume-removed", id },
    { done: () => world.volumes.splice(world.volumes.indexOf(volume), 1) },
  );
  world.disk.undisturbed(() => world.layers.sweep(chain.map((layer) => layer.id)));
  world.tellAll({ mayDie: true });
}

/** The volume, not mapped for a moment, takes the content of another one. */
export async function overwrite(world: World, volume: Mounted): Promise<void> {
  const source = world.pick(world.volumes);
  if (source === volume || source.record.sizeBytes < volume.record.sizeBytes) return;
  if (!(await freeze(world, source))) return;
  world.unmount(volume);
  const { id } = volume.record;
  const before = layersOf(volume.record);
  const { sizeBytes, lower = [] } = source.record;
  const layerId = world.newId();
  world.disk.undisturbed(() => world.layers.create({ id: layerId, sizeBytes }, sizeBytes / MIB));
  const content = source.model.copy();
  await world.mdm.commit(
    { type: "volumes-changed", volumes: [{ id, to: { layerId, lower, sizeBytes } }], lastId: 0 },
    { done: () => volume.model.become(content), undone: () => world.layers.sweep([layerId]) },
  );
  world.disk.undisturbed(() => world.layers.sweep(before.map((layer) => layer.id)));
  world.mount(volume);
  world.tellAll({ mayDie: true });
}

/** The volume is unmounted, repaired by a process of its own perhaps, and mounted again. */
export async function detach(world: World, volume: Mounted): Promise<void> {
  world.do(volume, (store) => store.close());
  volume.store = undefined;
  world.address(volume);
  const layer = world.layers.all().get(ownLayer(volume.record).id) as Layer;
  if (world.random() < 0.7) await world.tryTo(() => repairAside(world, layer, 1 + Math.floor(world.random() * 6)));
  world.open(volume);
}
