/**
 * The planner at the size of the largest system, by the code that the product runs: 1,024 SDSs, 100,000 volumes of 16 GB.
 * Prints plan times, the size of the map, what is moved, and how evenly. Exit status 1 when a limit is missed.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { KeepAlive } from "../../src/scaleio/keep-alive.ts";
import { CHUNK_BYTES, type Device, type Group, type Sds, type SystemState } from "../../src/scaleio/model.ts";
import { noFacts, tally } from "../../src/scaleio/mover.ts";
import { groupCountFor, placeGroups } from "../../src/scaleio/pool/placement.ts";
import type { PlannerDevice } from "../../src/scaleio/pool/plan.ts";
import { planMoves } from "../../src/scaleio/pool/planner.ts";
import { nodeFiles } from "../../src/scaleio/sdc/files.ts";
import { BIT, flatGroups, Layout } from "../../src/scaleio/sdc/layout.ts";
import { labelOf } from "../../src/scaleio/sds/device-label.ts";

const NODES = 1024;
const VOLUMES = 100_000;
const CHUNKS_PER_VOLUME = 16 * 1024;

const device = (index: number): PlannerDevice => ({
  capacityBytes: 2 ** 40,
  faultUnit: `sds-${index}`,
  standing: "home",
});
const devices = Array.from({ length: NODES }, (_, index) => device(index));
const timed = <T>(task: () => T): [T, number] => {
  const began = performance.now();
  const result = task();
  return [result, performance.now() - began];
};
let missed = 0;
const line = (what: string, value: string, ok = true) => {
  if (!ok) missed++;
  console.log(`${what.padEnd(58)} ${value.padStart(20)} ${ok ? "" : "MISS"}`);
};

const count = groupCountFor(NODES);
const [table, placing] = timed(() => [...placeGroups(devices, count)]);
line(`placing ${count} groups on ${NODES} SDSs`, `${placing.toFixed(0)} ms`);
const mapBytes = JSON.stringify(table).length;
line("map as the engines get it, limit 16 MB", `${(mapBytes / 1e6).toFixed(1)} MB`, mapBytes < 16e6);

const facts = () => noFacts(count);
const chunksPerGroup = (VOLUMES * CHUNKS_PER_VOLUME) / count;
/** With all volumes full; and of every TB that they take, both copies counted. */
const bytesOf = (moved: number) => {
  const tib = (moved * chunksPerGroup) / 2 ** 20;
  return `${tib.toFixed(2)} TB, ${((1000 * moved) / (2 * count)).toFixed(2)} GB`;
};

const lossy = devices.map((one, index) => (index === 7 ? { ...one, standing: "lost" as const } : one));
const [moves, planning] = timed(() => planMoves(table, lossy, facts()));
line("planning the loss of one SDS, limit 1000 ms", `${planning.toFixed(0)} ms`, planning < 1000);
const copies = table.filter((group) => group.slice(0, 2).includes(7)).length;
line("copies lost / copies to be made", `${copies} / ${moves.length}`, copies === moves.length);
line(`bytes moved for it, of ${VOLUMES} full volumes, of each TB`, bytesOf(moves.length));

// Each target writes; the copy that is left is read.
const spread = (of: (before: Group, after: Group) => number) => {
  const work = new Map<number, number>();
  for (const [number, after] of moves) {
    const who = of(table[number] as Group, after);
    work.set(who, (work.get(who) ?? 0) + 1);
  }
  return { nodes: work.size, most: Math.max(...work.values()) };
};
const evenly = ({ nodes, most }: { nodes: number; most: number }) => {
  const ratio = most / (moves.length / (NODES - 1));
  return [`${nodes}, ${ratio.toFixed(2)}`, nodes === NODES - 1 && ratio <= 1.2] as const;
};
const written = spread((before, after) => after.find((one, slot) => slot < 3 && one !== before[slot]) as number);
line("SDSs that write, most / mean, limit 1.2", ...evenly(written));
const read = spread((before) => before.slice(0, 2).find((one) => one !== 7) as number);
line("SDSs that are read, most / mean, limit 1.2", ...evenly(read));

const leaving = devices.map((one, index) => (index === 7 ? { ...one, standing: "leaving" as const } : one));
const [evacuation, evacuating] = timed(() => planMoves(table, leaving, facts()));
line("planning for an SDS that leaves, limit 1000 ms", `${evacuating.toFixed(0)} ms`, evacuating < 1000);
line("copies there / copies to be moved", `${copies} / ${evacuation.length}`, copies === evacuation.length);

const grown = [...devices, device(NODES)];
const [adding, balancing] = timed(() => planMoves(table, grown, facts()));
line("planning for a new SDS, limit 1000 ms", `${balancing.toFixed(0)} ms`, balancing < 1000);
const share = (count * 2) / (NODES + 1);
line("copies for it / its share", `${adding.length} / ${share.toFixed(1)}`, adding.length <= share * 1.05);
line(`bytes moved for it, of ${VOLUMES} full volumes, of each TB`, bytesOf(adding.length));

// What the mover adds up between two plans while copies are on their way, files apart: all ledgers say that nothing is in any third
// slot, where a lost SDS's copies are to be made.
const rebuilt = table.map((group): Group => [...group]);
for (const [number, after] of moves) rebuilt[number] = after;
const states = new Uint8Array(CHUNKS_PER_VOLUME).fill(BIT[2]);
const found = facts();
const [, tallying] = timed(() => {
  for (let volume = 0; volume < VOLUMES; volume++) {
    const own = { sizeBytes: CHUNKS_PER_VOLUME * CHUNK_BYTES, firstGroup: (volume * 37) % count };
    tally(found, new Layout(own, flatGroups(rebuilt)), states, true);
  }
});
const toFill = found.stale.reduce((sum, chunks) => sum + chunks, 0) / (moves.length * chunksPerGroup);
line(`adding up the ledgers of ${VOLUMES} volumes`, `${(tallying / 1000).toFixed(1)} s`);
line("chunks to be made / those of the copies lost", toFill.toFixed(2), Math.abs(toFill - 1) < 0.01);

// A tick every 100 ms, of which each asks a fifth of the devices: what ten of them take is a share of the daemon's second.
const root = fs.mkdtempSync(path.join(os.tmpdir(), "scale-"));
const nodes = devices.map(({ capacityBytes, faultUnit: name }, index): Sds => {
  const directory = path.join(root, String(index));
  fs.mkdirSync(directory);
  fs.writeFileSync(labelOf(directory), "{}");
  const own: Device = { id: name, name: "dev-1", path: directory, capacityBytes, state: "up", reason: "" };
  return { id: name, name, faultSet: name, state: "up", devices: [own] };
});
const keepAlive = new KeepAlive({
  state: () => ({ sds: nodes }) as unknown as SystemState,
  probe: (_sds, { path: directory }) => nodeFiles.close(nodeFiles.open(labelOf(directory))),
  changed: async () => undefined,
});
const [, ticking] = timed(() => {
  for (let tick = 0; tick < 10; tick++) keepAlive.tick();
});
line(`a second of keep-alives to ${NODES} SDSs, limit 100 ms`, `${ticking.toFixed(0)} ms`, ticking < 100);
fs.rmSync(root, { recursive: true });
process.exit(missed > 0 ? 1 : 0);
