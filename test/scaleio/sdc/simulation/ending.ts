import { BLOCK_BYTES } from "../../../../src/scaleio/sdc/sums.ts";
import { mendRecords } from "./harm.ts";
import { check } from "./requests.ts";
import { SECTOR } from "./units.ts";
import { drop, mendDevice, repairAside, scanAll } from "./upkeep.ts";
import type { Mounted, World } from "./world.ts";

/** All devices back, everything rebuilt: every sector as the model says, all copies equal, and nothing left over. */
export async function finish(world: World): Promise<void> {
  world.mdm.calm = true;
  await world.mdm.healAll();
  if (!(await world.mdm.attend())) throw new Error("all MDM members are well, and do not suffice");
  await mendRecords(world);
  world.catchUp();
  for (const device of world.pool.present) if (!world.pool.serves(device)) await mendDevice(world, device);
  for (const volume of world.volumes) rewriteSuspects(world, volume);
  if (world.checksum) scanAll(world);
  for (let round = 0; round < 3; round++) {
    for (const volume of world.volumes) {
      while (world.live(volume).work(64) > 0);
      const { absorbed, layerId } = world.live(volume).status();
      if (absorbed.length > 0) await drop(world, layerId, absorbed);
    }
    for (const { id } of world.layers.frozen()) {
      const layer = world.layers.all().get(id);
      if (layer !== undefined) await repairAside(world, layer, 1024);
    }
  }
  for (const volume of world.volumes) while (world.live(volume).work(64) > 0);
  for (const volume of world.volumes) {
    const { staleCopies, unsyncedChunks, garbage, absorbing } = world.live(volume).status();
    if (staleCopies + unsyncedChunks + garbage + absorbing > 0) {
      world.trace(
        `groups ${JSON.stringify(world.pool.groups)}, layers ${[...world.layers.all().values()].map((l) => `${l.id}: ${[...world.layers.ledger(l)].map((x) => x.toString(2))}`).join("; ")}`,
      );
      world.trace(JSON.stringify(world.live(volume).status()));
      const left = `${staleCopies} stale copies, ${unsyncedChunks} unsynced chunks, ${garbage} retired and ${absorbing} lower ones`;
      throw new Error(`volume ${volume.record.id}: ${left} remain`);
    }
    check(world, volume, 0, volume.record.sizeBytes / SECTOR);
  }
  if (world.volumes.length === 1 && world.layers.all().size > 1) throw new Error("layers that nobody needs remain");
  world.invariants.checkAll(world.standings.all());
  for (const volume of world.volumes) world.live(volume).close();
  checkNothingLeft(world);
}

/** Whoever was told that a flush had failed writes anew what it was about. */
function rewriteSuspects(world: World, volume: Mounted): void {
  const perBlock = BLOCK_BYTES / SECTOR;
  for (const block of new Set(volume.model.suspects.map((sector) => Math.floor(sector / perBlock)))) {
    const sector = block * perBlock;
    world.do(volume, (store) => store.write(Buffer.alloc(BLOCK_BYTES), 0, sector * SECTOR, BLOCK_BYTES));
    for (let i = 0; i < perBlock; i++) {
      volume.model.begin(sector + i, 0);
      volume.model.acknowledge(sector + i, 0);
    }
  }
}

function checkNothingLeft(world: World): void {
  const needed = world.layers.all();
  for (const path of world.disk.paths()) {
    const id = /^\/(?:sdc\/|sds\/\d+\/)(\w+)/.exec(path)?.[1] ?? "";
    if (!needed.has(id)) throw new Error(`${path} is left`);
  }
}
