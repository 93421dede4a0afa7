import { Refused } from "./disk.ts";
import { MIB, SECTOR } from "./units.ts";
import { scanAll } from "./upkeep.ts";
import type { Mounted, World } from "./world.ts";

export function write(world: World, volume: Mounted): void {
  const { sector, count } = range(world, volume, 40);
  world.trace(`  ${count} sectors from ${sector}, chunk ${Math.floor(sector / 2048)}, tag ${world.tag + 1}`);
  findRot(world, volume, sector, count);
  const tag = ++world.tag;
  const data = Buffer.alloc(count * SECTOR);
  new Uint32Array(data.buffer, data.byteOffset, data.length / 4).fill(tag);
  for (let i = 0; i < count; i++) volume.model.begin(sector + i, tag);
  try {
    world.do(volume, (store) => store.write(data, 0, sector * SECTOR, data.length), { sector, count });
  } catch (error) {
    // Whoever looks at what has come of it must not be told otherwise by the next engine.
    if (error instanceof Refused && world.random() < 0.5) {
      check(world, volume, sector, count);
      world.disk.crash();
      world.reopen();
    }
    throw error;
  }
  for (let i = 0; i < count; i++) volume.model.acknowledge(sector + i, tag);
  world.invariants.checkWritten(world.standings.of(volume), volume.followed, sector * SECTOR, data.length);
}

/** A write with FUA, as the kernel has a FUSE file do it: a write, and a flush before it is acknowledged. */
export function writeThrough(world: World, volume: Mounted): void {
  write(world, volume);
  flush(world, volume);
}

export function discard(world: World, volume: Mounted): void {
  const { sector, count } = range(world, volume, world.random() < 0.5 ? 60 : 3000);
  findRot(world, volume, sector, count);
  for (let i = 0; i < count; i++) volume.model.begin(sector + i, 0);
  world.do(volume, (store) => store.zero(sector * SECTOR, count * SECTOR), { sector, count });
  for (let i = 0; i < count; i++) volume.model.acknowledge(sector + i, 0);
  // Whole pieces of 64 KiB, for what is copied up from below is; in slots that hold nothing there may be anything.
  const [first, end] = [Math.ceil((sector * SECTOR) / 65536), Math.floor(((sector + count) * SECTOR) / 65536)];
  if (end > first && volume.record.lower === undefined)
    world.invariants.checkDiscarded(world.standings.of(volume), first * 65536, (end - first) * 65536);
}

/** What is rotten, and being written when an engine is killed, may be taken for good (README, not survived): it is found before. */
function findRot(world: World, { followed }: Mounted, sector: number, count: number): void {
  const chunkOf = (at: number) => Math.floor((at * SECTOR) / MIB);
  for (let chunk = chunkOf(sector); chunk <= chunkOf(sector + count - 1); chunk++)
    if (world.rotten.has(`${followed.layerId}:${chunk}`)) scanAll(world);
}

export function read(world: World, volume: Mounted): void {
  const { sector, count } = range(world, volume, 40);
  check(world, volume, sector, count);
}

export function check(world: World, volume: Mounted, sector: number, count: number): void {
  const data = Buffer.alloc(count * SECTOR, 0xee);
  world.do(volume, (store) => store.read(data, 0, sector * SECTOR, data.length), { sector, count });
  const words = new Uint32Array(data.buffer, data.byteOffset, data.length / 4);
  const where = (i: number) => `sector ${sector + i} of volume ${volume.record.id}`;
  for (let i = 0; i < count; i++) {
    const tag = words[(i * SECTOR) / 4] as number;
    for (let word = 0; word < SECTOR / 4; word++) {
      if (words[(i * SECTOR) / 4 + word] !== tag) throw new Error(`${where(i)} is mixed`);
    }
    const allowed = volume.model.live(sector + i);
    if (!allowed.has(tag)) throw new Error(`${where(i)} holds ${tag}, allowed: ${[...allowed]}`);
    volume.model.observed(sector + i, tag);
  }
}

export function flush(world: World, volume: Mounted): void {
  volume.wasTold ||= volume.flushMayFail;
  try {
    world.do(volume, (store) => store.flush(), undefined, volume.flushMayFail);
    volume.wasTold = false;
    if (world.standings.isLost(volume))
      throw new Error(`a flush of volume ${volume.record.id} passes over what was lost`);
  } finally {
    volume.flushMayFail = false;
    volume.losses = [];
  }
  volume.model.flushed();
  world.invariants.checkFlushed(world.standings.of(volume));
}

function range(world: World, { record, servedBytes }: Mounted, most: number): { sector: number; count: number } {
  // An engine that has died since the volume grew may not have heard of it yet.
  const bytes = Math.min(record.sizeBytes, servedBytes);
  const chunks = bytes / MIB;
  const sectors = bytes / SECTOR;
  // Near a chunk's border as often as not: that is where the arithmetic is.
  const base =
    world.random() < 0.5
      ? Math.floor(world.random() * sectors)
      : Math.floor(world.random() * chunks) * (MIB / SECTOR) - 8;
  const sector = Math.min(Math.max(0, base), sectors - 1);
  // Up to what the kernel asks for at once, now and then.
  const count = 1 + Math.floor(world.random() * (world.random() < 0.05 ? MIB / SECTOR : most));
  return { sector, count: Math.min(count, sectors - sector) };
}
