import path from "node:path";
import t from "tap";
import { type Mutation, testTeeth } from "../../helpers/teeth.ts";

const MUTATIONS: readonly Mutation[] = [
  {
    invariant: "1, 5 what two engines may have left different is compared before it is read",
    file: "open-layer.ts",
    of: "for (let chunk = region * perRegion; chunk < end; chunk++) this.change(chunk, this.state(chunk) | UNSYNCED);",
    by: "",
  },
  {
    invariant: "1 a transfer that was short is gone on with",
    file: "files.ts",
    of: "const n = write(fd, from, at + done, length - done, position + done);",
    by: "write(fd, from, at + done, length - done, position + done); const n = length;",
  },
  {
    invariant: "2 a copy that did not take a write is stale",
    file: "block-store.ts",
    of: "if (!this.#layer.missed(chunk, slot as Slot)) throw noGoodCopy(chunk);\n    }\n    this.#layer.record();",
    by: "continue;\n    }\n    this.#layer.record();",
  },
  {
    invariant: "2 that is on record before the write is acknowledged",
    file: "open-layer.ts",
    of: "this.#ledger.persist(this.#unrecorded.first, this.#unrecorded.last);",
    by: "",
  },
  {
    invariant: "2 a copy on a device that failed is stale before the others are written",
    file: "open-layer.ts",
    of: "for (const slot of SLOTS) if ((good & ~targets & BIT[slot]) !== 0) this.markStale(chunk, slot);",
    by: "",
  },
  {
    invariant: "3 a stale copy is never read",
    file: "whole-chunks.ts",
    of: "if (this.#layer.isStale(chunk, slot as Slot)) continue;",
    by: "",
  },
  {
    invariant: "3 it becomes good by being copied over only",
    file: "whole-chunks.ts",
    of: "return loaded && this.#mirror(chunk, target);",
    by: "return loaded;",
  },
  {
    invariant: "3 and once that has been synced",
    file: "device-file.ts",
    of: "this.#files.syncRange(this.#fd, offset, length);",
    by: "",
  },
  {
    invariant: "3 also what was equal already, in memory",
    file: "whole-chunks.ts",
    of: "const distrusted = new Set(this.#layer.settleDropped());",
    by: "const distrusted = new Set<number>();",
    seed: 146,
  },
  {
    invariant: "4 a flush syncs every device",
    file: "open-layer.ts",
    of: "return this.copies.syncAll().filter((device) => !this.distrust(device)).length === 0;",
    by: "return true;",
  },
  {
    invariant: "4 and fails where the last good copy cannot be synced",
    file: "block-store.ts",
    of: "if (!this.#layer.sync())",
    by: "if (!this.#layer.sync() && this.#blocks === undefined)",
  },
  {
    invariant: "1, 3 what a device has lost in a sync that failed is stale there",
    file: "open-layer.ts",
    of: "} else this.markStale(chunk, slot);",
    by: "}",
  },
  {
    invariant: "3 a copy is compared with what its disk has, not with what memory has kept of a failed sync",
    file: "copies.ts",
    of: "file.refresh();",
    by: "",
    seed: 69,
  },
  {
    invariant: "5 regions are on record before they are written",
    file: "block-store.ts",
    of: "this.#layer.intent.cover(offset, length, this.#now());",
    by: "",
  },
  {
    invariant: "5 and stay there until they have been synced and compared",
    file: "open-layer.ts",
    of: "if ((this.state(chunk) & UNSYNCED) !== 0) return true;",
    by: "",
  },
  {
    invariant: "7 nobody goes by an older map",
    file: "ledger.ts",
    of: "if (mapVersion < this.#mapVersion) {",
    by: "if (mapVersion < 0) {",
  },
  {
    invariant: "7 engines are told of what is on two members only",
    file: "../mdm/mdm.ts",
    of: "await this.#append(batch.map(({ change }) => change));",
    by: "void this.#append(batch.map(({ change }) => change)).catch(() => undefined);",
  },
  {
    invariant: "7 and not of what was refused",
    file: "../mdm/mdm.ts",
    of: "await this.#append(batch.map(({ change }) => change));\n        for (const { change } of batch) apply(this.#tables, change);",
    by: "for (const { change } of batch) apply(this.#tables, change);\n        await this.#append(batch.map(({ change }) => change));",
  },
  {
    invariant: "7 nor does a later daemon find it made",
    file: "../mdm/mdm.ts",
    of: "member.cutBack(length)",
    by: "Promise.resolve(member.length)",
  },
  {
    invariant: "7 a member that comes back alone is not believed",
    file: "../mdm/mdm.ts",
    of: "if (histories.length >= QUORUM || isNew)",
    by: "if (histories.length > 0 || isNew)",
  },
  {
    invariant: "7 nor the one of two that is behind",
    file: "../mdm/mdm.ts",
    of: "compare(lastOf(b), lastOf(a))",
    by: "compare(lastOf(a), lastOf(b))",
  },
  {
    invariant: "8 a discard gives the space back",
    file: "device-file.ts",
    of: "this.#files.punch(this.#fd, offset, length);",
    by: "this.#files.write(this.#fd, Buffer.alloc(length), 0, length, offset);",
  },
  {
    invariant: "blank chunks: what was written to is on record for ever, before it is written",
    file: "intent.ts",
    of: "else this.#set(this.#touched, newest.touched);",
    by: "",
  },
  {
    invariant: "blank chunks: what is copied up is on record too",
    file: "whole-chunks.ts",
    of: "this.#layer.intent.touch(chunk * CHUNK_BYTES);",
    by: "",
  },
  {
    invariant: "snapshots: what is written to a volume is not seen in its snapshots, nor lost with them",
    file: "block-store.ts",
    of: "if (this.#layer.isInherited(chunk)) {\n      this.#chunks.copyUp(",
    by: "if (this.#layer.isInherited(chunk)) {\n      this.#layer.change(chunk, this.#layer.state(chunk) & ~8);\n      this.#chunks.copyUp(",
  },
  {
    invariant: "snapshots: a chunk is on disk before the ledger says that it has been copied up",
    file: "whole-chunks.ts",
    of: "for (const device of this.#layer.settleDropped()) {\n      this.#layer.distrust(device);\n      this.#layer.markDevice(chunk, device);\n    }",
    by: "",
  },
  {
    invariant: "snapshots: what an engine had in flight is compared before others read the layer",
    file: "block-store.ts",
    of: "for (const [index, layer] of session.lower.entries()) settleFrozen(files, session, layer, index, now);",
    by: "",
    seed: 50,
  },
  {
    invariant: "snapshots: a layer goes only when nothing of it is needed any more",
    file: "block-store.ts",
    of: "this.#layer.absorbing > 0\n          ? []\n          : ",
    by: "",
  },
  {
    invariant: "checksums: a block that is not what was written is never answered",
    file: "device-file.ts",
    of: "if (sum === sums.get(block) || sum === sums.getAgain(block)) continue;",
    by: "continue;",
  },
  {
    invariant: "checksums: they are on disk before the region leaves the write-intent record",
    file: "open-layer.ts",
    of: "return !this.copies.checksum || this.copies.syncSums().length === 0;",
    by: "return true;",
  },
];

t.test("the simulator catches a store that is broken", { timeout: 600_000 }, (t) =>
  testTeeth(t, {
    simulation: path.join(import.meta.dirname, "simulation/simulation.ts"),
    sources: path.resolve(import.meta.dirname, "../../../src/scaleio/sdc"),
    steps: [...Array(300).keys()],
    mutations: MUTATIONS,
  }),
);
