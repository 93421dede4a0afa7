import { SimError } from "../../../../src/lib/errors.ts";
import type { Layer } from "../../../../src/scaleio/layers.ts";
import type { Group, Id } from "../../../../src/scaleio/model.ts";
import { BlockStore } from "../../../../src/scaleio/sdc/block-store.ts";
import { BIT, SLOTS } from "../../../../src/scaleio/sdc/layout.ts";
import { type Facts, MOST_CHUNKS } from "./pool.ts";
import type { Mounted, World } from "./world.ts";

/** As the repairer has an engine do it; then layers that nobody needs go. */
export async function work(world: World, volume: Mounted): Promise<void> {
  const budget = 1 + Math.floor(world.random() * 6);
  world.do(volume, (store) => store.work(budget));
  const { absorbed, layerId } = world.live(volume).status();
  if (absorbed.length > 0 && world.mdm.acts && !world.isUntold) await drop(world, layerId, absorbed);
}

/** A process of its own repairs a layer that nobody writes to. */
export async function repairFrozen(world: World): Promise<void> {
  const frozen = world.layers.frozen();
  if (frozen.length > 0) await repairAside(world, world.pick(frozen), 1 + Math.floor(world.random() * 6));
}

export async function repairAside(world: World, layer: Layer, budget: number): Promise<void> {
  let absorbed: readonly string[] = [];
  world.permit(
    () => {
      const store = new BlockStore(world.disk, world.layers.session(layer), () => world.now);
      store.work(budget);
      ({ absorbed } = store.status());
      store.close();
    },
    () => world.layers.isOutOfReach([layer]),
  );
  if (absorbed.length > 0) await drop(world, layer.id, absorbed);
}

export async function drop(world: World, layerId: Id, absorbed: readonly Id[]): Promise<void> {
  const volumes = (world.layers.all().get(layerId)?.volumes ?? []).map(({ id, lower = [] }) => ({
    id,
    to: { lower: lower.filter((layer) => !absorbed.includes(layer.id)) },
  }));
  await world.mdm.commit({ type: "volumes-changed", volumes, lastId: 0 });
  world.tellAll({ mayDie: false });
  world.layers.sweep(absorbed);
}

export async function moveCopies(world: World): Promise<void> {
  if (world.checksum && world.pool.away.length === 0) scanAll(world);
  const change = world.pool.moved(() => world.random(), facts(world));
  if (change === undefined) return;
  await world.mdm.commit(change);
  world.tellAll({ mayDie: true });
}

export function scanAll(world: World): void {
  for (const volume of world.volumes) world.do(volume, (store) => store.scan(0, MOST_CHUNKS));
  for (const layer of world.layers.frozen()) {
    world.permit(
      () => {
        const store = new BlockStore(world.disk, world.layers.session(layer), () => world.now);
        store.scan(0, MOST_CHUNKS);
        store.close();
      },
      () => world.layers.isOutOfReach([layer]),
    );
  }
  world.rotten.clear();
}

function facts(world: World): Facts {
  const garbage = world.volumes.some((volume) => world.live(volume).status().garbage > 0);
  const told = world.volumes.every(({ followed }) => followed.mapVersion === world.pool.version);
  const ledgers = world.disk.undisturbed(() =>
    [...world.layers.all().values()].map((layer) => world.layers.ledger(layer)),
  );
  const failed = world.volumes.map(({ store }) => new Set(store?.status().failedDevices.map(({ name }) => name)));
  return {
    stale: world.layers.staleSlots(),
    givenUp: (group) => {
      const retired = (world.pool.groups[group] as Group)[3];
      return (
        told &&
        !garbage &&
        ledgers.every((states) => group >= states.length || ((states[group] as number) & retired) === retired)
      );
    },
    noticed: (device) => failed.every((names) => names.has(world.pool.name(device))),
  };
}

/** A device is harmed or mended. A second one is harmed as well now and then: some chunks cannot be had then. */
export async function changeDevice(world: World): Promise<void> {
  const { away } = world.pool;
  if (away.length > 0 && (away.length > 1 || world.random() < 0.7)) {
    const device = world.pick(away);
    world.trace(`  device ${device} is mended`);
    await mendDevice(world, device);
    return;
  }
  if (world.checksum) scanAll(world);
  const device = world.pick(world.pool.present.filter((other) => !away.includes(other)));
  if (away.length === 0 && !isEnoughWithout(world, device)) return;
  const { how, changes } = world.pool.harm(() => world.random(), device);
  world.trace(`  device ${device}: ${how}`);
  for (const change of changes) await world.mdm.commit(change);
  world.tellAll({ mayDie: true });
}

/** A node is taken into maintenance while all others are there; what is to stand in for it has been prepared when it goes. */
export async function restNode(world: World): Promise<void> {
  if (world.pool.away.length > 0) return;
  const device = world.pick(world.pool.present);
  if (!isEnoughWithout(world, device)) return;
  const [maintenance, stopped] = world.pool.rested(device);
  world.trace(`  the node of device ${device} rests`);
  await world.mdm.commit(maintenance);
  world.tellAll({ mayDie: false });
  await moveCopies(world);
  // The daemon may have died on the way.
  if (!world.mdm.acts) return;
  await world.mdm.commit(stopped);
  world.tellAll({ mayDie: true });
}

/** Whether every chunk has a good copy when a device's node is gone. */
function isEnoughWithout(world: World, device: number): boolean {
  const stale = world.layers.staleSlots();
  const lost = world.pool.besides(device);
  return world.pool.groups.every((group, number) =>
    SLOTS.some(
      (slot) => group[slot] >= 0 && !lost.includes(group[slot]) && ((stale[number] as number) & BIT[slot]) === 0,
    ),
  );
}

/** Its node comes back; the MDM hears of a failure before the device is declared well, and everybody is told of both. */
export async function mendDevice(world: World, device: number): Promise<void> {
  for (const change of world.pool.nodeBack(device)) {
    await world.mdm.commit(change);
    world.tellAll({ mayDie: false });
  }
  if (world.pool.serves(device)) return;
  const isDeclared = world.pool.devices[device]?.state !== "up";
  if (!isDeclared) await world.mdm.commit(world.pool.declared(device, "failed"));
  world.pool.mend(device);
  if (!isDeclared) world.tellAll({ mayDie: false });
  await world.mdm.commit(world.pool.declared(device, "up"));
  world.tellAll({ mayDie: false });
}

/** Devices are added, are to leave, and go. */
export async function changeDevices(world: World): Promise<void> {
  const random = () => world.random();
  const given = facts(world).givenUp;
  const settled = world.pool.groups.every((_, group) => given(group));
  const removed = settled ? world.pool.removed() : undefined;
  const change = removed ?? (world.random() < 0.5 ? world.pool.added(random) : undefined) ?? world.pool.left(random);
  if (change === undefined) return;
  await world.mdm.commit(change);
  if (removed !== undefined) world.pool.sweep();
  world.tellAll({ mayDie: true });
}

/** A map from before: nobody may go by it. */
export function showOldMap(world: World, volume: Mounted): void {
  const old = world.old.get(volume.record.id);
  if (old === undefined || old.mapVersion >= volume.followed.mapVersion || old.layerId !== volume.session.layerId)
    return;
  if (old.lower.some(({ id }) => !world.layers.all().has(id))) return;
  const refuses = (what: () => void) => {
    try {
      what();
    } catch (error) {
      if (world.disk.dead || (error instanceof SimError && error.code === "unavailable")) return;
      throw error;
    }
    if (!world.disk.dead) throw new Error(`volume ${volume.record.id} went by an old map`);
  };
  if (world.brokenRecords.size > 0) return;
  refuses(() => world.live(volume).reload(old));
  if (!world.disk.dead) refuses(() => new BlockStore(world.disk, old, () => world.now));
}
