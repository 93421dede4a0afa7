import { BIT, INHERITED, SLOTS } from "../../../../src/scaleio/sdc/layout.ts";
import { flush } from "./requests.ts";
import { MIB } from "./units.ts";
import { scanAll } from "./upkeep.ts";
import type { World } from "./world.ts";

/** Of the copies of this chunk the whole file of checksums goes instead. */
const SUMS_GO = 0;

/**
 * A stored bit of a copy changes. Where the checksums on disk are good, that is: in a region that has been quiet; and one
 * rotten copy at a time, until a scan has been everywhere. Without checksums it is a replica of a ledger that rots.
 */
export function rot(world: World): void {
  const layer = world.pick([...world.layers.all().values()]);
  if (!world.checksum) {
    const replica = `/sdc/${layer.id}/ledger.${1 + (world.seed % 4 === 1 ? 1 : 0)}`;
    world.disk.rot(replica, Math.floor(world.random() * 8192));
    return;
  }
  if (world.pool.away.length > 0) return;
  scanAll(world);
  let lost: string | undefined;
  world.disk.undisturbed(() => {
    const states = world.layers.ledger(layer);
    const chunk = Math.floor(world.random() * states.length);
    const state = states[chunk] as number;
    const good = SLOTS.filter((slot) => (world.pool.active(chunk) & ~state & BIT[slot]) !== 0);
    const active = world.layers.activeRegions(layer).includes(chunk * MIB);
    if ((state & INHERITED) !== 0 || good.length < 2 || active) return;
    const device = world.pool.groups[chunk]?.[world.pick(good)] as number;
    if (chunk === SUMS_GO) {
      lost = `${world.pool.file(device, layer.id)}.sum`;
      return;
    }
    world.rotten.add(`${layer.id}:${chunk}`);
    for (let i = 0; i < 50; i++)
      world.disk.rot(world.pool.file(device, layer.id), chunk * MIB + Math.floor(world.random() * MIB));
  });
  if (lost === undefined) return;
  world.trace(`  ${lost} is lost`);
  world.disk.remove(lost);
  // Engines that have it open go on; the next ones miss it.
  world.disk.crash();
  world.reopen();
}

/** Record files that cannot be written to: one replica of a ledger, which nobody may notice, or all of a layer's. */
export async function breakRecords(world: World): Promise<void> {
  await mendRecords(world);
  if (world.random() < 0.3) return;
  const { id } = world.pick([...world.layers.all().values()]);
  const replica = `/sdc/${id}/ledger.${1 + (world.seed % 4 === 1 ? 1 : 0)}`;
  const all = world.random() < 0.4;
  const prefix = all ? `/sdc/${id}/` : replica;
  world.brokenRecords.add(prefix);
  // What is torn in one replica is whole in the other one; nothing survives both torn at once.
  (all ? world.disk.refusedWrites : world.disk.brokenWrites).add(prefix);
  if (!all && world.random() < 0.5) world.disk.brokenReads.add(prefix);
}

export async function mendRecords(world: World): Promise<void> {
  if (world.brokenRecords.size === 0) return;
  world.repairRecords();
  // With a flush everything that is known is on record.
  for (const volume of world.volumes) if (volume.store !== undefined) await world.tryTo(() => flush(world, volume));
}

export async function losePower(world: World): Promise<void> {
  world.cutPower();
  await world.restart();
}

/** MDM members fall ill, are not to be found, are taken down, come back; or the daemon dies, and its successor finds others. */
export async function changeMembers(world: World): Promise<void> {
  const { mdm } = world;
  const dice = world.random();
  if (dice < 0.3) mdm.harm.fallIll();
  else if (dice < 0.45) mdm.harm.comeOrGo();
  else if (dice < 0.6) mdm.harm.recover();
  else if (dice < 0.7) await mdm.takeDown(["1", "2", "3"].filter(() => world.random() < 0.5));
  else if (dice < 0.8) await mdm.healAll();
  else mdm.die();
}
