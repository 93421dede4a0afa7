import path from "node:path";
import t from "tap";
import { type Bite, testTeeth } from "../helpers/teeth.ts";

const SCALEIO = path.resolve(import.meta.dirname, "../../src/scaleio");

const MDM: Bite<number> = {
  simulation: path.join(import.meta.dirname, "mdm/simulation.ts"),
  sources: path.join(SCALEIO, "mdm"),
  steps: 60,
  mutations: [
    {
      invariant: "7 a change is on two members before it is acknowledged",
      file: "mdm.ts",
      of: "    this.#checkQuorum();\n    this.#last = {",
      by: "    this.#last = {",
    },
    {
      invariant: "7 and on their disks",
      file: "member.ts",
      of: "await this.#log.datasync();",
      by: "",
    },
    {
      invariant: "7 all of it",
      file: "member.ts",
      of: "await this.#log.write(bytes, done, bytes.length - done, this.#end + done);\n",
      by: "await this.#log.write(bytes, done, bytes.length - done, this.#end + done); done = bytes.length;\n",
    },
    {
      invariant: "7 one that was refused is in no log",
      file: "mdm.ts",
      of: "member.cutBack(length)",
      by: "Promise.resolve(member.length)",
    },
    {
      invariant: "7 and stays out of it",
      file: "member.ts",
      of: "await this.#log.sync();",
      by: "",
    },
    {
      invariant: "7 the newest history is gone by",
      file: "mdm.ts",
      of: "compare(lastOf(b), lastOf(a))",
      by: "lastOf(b).index - lastOf(a).index",
    },
    {
      invariant: "7 if two members can be read",
      file: "mdm.ts",
      of: "if (histories.length >= QUORUM || isNew)",
      by: "if (histories.length > 0)",
    },
    {
      invariant: "7 a history that is taken up is no newer for that",
      file: "mdm.ts",
      of: "...this.#last,\n      tables",
      by: "...this.#last,\n      epoch: this.#epoch,\n      tables",
    },
    {
      invariant: "7 a damaged snapshot is told",
      file: "member.ts",
      of: "if (sum !== parsed.sha256) throw",
      by: "if (sum === undefined) throw",
      seed: 53,
    },
    {
      invariant: "7 a torn write of several changes does not take the member's earlier ones along",
      file: "member.ts",
      of: 'rest === "" || isOfWrite(rest, next)',
      by: 'rest === ""',
    },
  ],
};

const MAPPINGS: Bite<number> = {
  simulation: path.join(import.meta.dirname, "mappings/simulation.ts"),
  sources: SCALEIO,
  steps: 30,
  mutations: [
    {
      invariant: "6 nobody is let in before the former host is fenced",
      file: "mappings.ts",
      of: "if (mappedTo !== null && mappedTo !== host) await sdc.fence(id);",
      by: "",
    },
    {
      invariant: "6 nor said to have the volume",
      file: "mappings.ts",
      of: 'if (mappedTo !== null && mappedTo !== host) await sdc.fence(id);\n    if (mappedTo !== host) await mdm.commit({ type: "volume-mapped", id, to: host });',
      by: 'if (mappedTo !== host) await mdm.commit({ type: "volume-mapped", id, to: host });\n    if (mappedTo !== null && mappedTo !== host) await sdc.fence(id);',
      seed: 14,
    },
    {
      invariant: "6 fencing waits until nothing is left",
      file: "sdc/sdc.ts",
      of: "if (!(await this.#endAll(dir)))",
      by: "if ((await this.#endAll(dir)) === undefined)",
      seed: 11,
    },
    {
      invariant: "6 also of what was started meanwhile",
      file: "sdc/sdc.ts",
      of: "empty = pids.length === 0 ? empty + 1 : 0;",
      by: "empty = 2; for (const pid of pids) while (this.#host.worksIn(pid, dir)) await this.#host.pause(1);",
    },
    {
      invariant: "6 and of whoever a look at the processes has missed",
      file: "sdc/sdc.ts",
      of: "empty < 2;",
      by: "empty < 1;",
    },
    {
      invariant: "6 two calls on one volume wait for each other",
      file: "volume-locks.ts",
      of: "inOrder.reduceRight<() => Promise<T>>((inner, id) => () => this.#locks.run(id, inner), task)()",
      by: "inOrder.length > 0 ? task() : task()",
    },
    {
      invariant: "6 a host that is lost gets no volume",
      file: "mappings.ts",
      of: "if (!this.#lostHosts.has(host)) return attached;",
      by: "if (host !== undefined) return attached;",
      seed: 77,
    },
    {
      invariant: "6 a repair that was broken off has ended before somebody else opens the layer",
      file: "repair-turns.ts",
      of: "await this.#running.done;",
      by: "",
      seed: 94,
    },
    {
      invariant: "6 and so has what it had started",
      file: "sdc/sdc.ts",
      of: "if (await this.#endAll(files.dir)) fs.rmSync",
      by: "fs.rmSync",
    },
    {
      invariant: "6 a repair of a former daemon too",
      file: "sdc/sdc.ts",
      of: ": await this.#endAll(dir)))",
      by: ": true))",
    },
    {
      invariant: "6 what a former attachment left ends before the volume is repaired",
      file: "sdc/sdc.ts",
      of: "if (!(await this.detach(session.volumeId)).released) return undefined;",
      by: "fs.rmSync(files.dir, { recursive: true, force: true });",
    },
  ],
};

const PROMISES: Bite<number> = {
  simulation: path.join(import.meta.dirname, "pool/promises-simulation.ts"),
  sources: SCALEIO,
  steps: 40,
  mutations: [
    {
      invariant: "8 no more is promised than the policy allows",
      file: "pool/capacity.ts",
      of: "if (thin > thinLeft) {",
      by: "if (thin > Number.MAX_VALUE) {",
    },
    {
      invariant: "8 nor by calls that go on at once",
      file: "promises.ts",
      of: "this.#pending.add(request);",
      by: "",
    },
    {
      invariant: "8 no more is set aside than there is",
      file: "pool/capacity.ts",
      of: "if (thick > thickLeft) {",
      by: "if (thick > Number.MAX_VALUE) {",
    },
    {
      invariant: "8 what is being set aside is in use for thin volumes too",
      file: "pool/capacity.ts",
      of: "const thinLeft = Math.max(0, thinAvailableBytes(state, taken,",
      by: "const thinLeft = Math.max(0, thinAvailableBytes(state, thinBytes,",
    },
    {
      invariant: "8 nothing new is promised by a pool that is nearly full",
      file: "pool/capacity.ts",
      of: "if (thin > 0 && isCritical(state, taken)) {",
      by: "if (thin < 0) {",
    },
  ],
};

const SPACE: Bite<number> = {
  simulation: path.join(import.meta.dirname, "sdc/space-simulation.ts"),
  sources: path.join(SCALEIO, "sdc"),
  steps: 60,
  mutations: [
    {
      invariant: "8 discard gives space back",
      file: "device-file.ts",
      of: "this.#files.punch(this.#fd, offset, length);",
      by: "this.#files.write(this.#fd, Buffer.alloc(length), 0, length, offset);",
    },
    {
      invariant: "8 thin volumes take what was written, also where copies are made good",
      file: "whole-copies.ts",
      of: "if (isThere && (!anew || this.source.compare(ZEROS, at, end, at, end) === 0)) {",
      by: "if (isThere === undefined) {",
    },
    {
      invariant: "8 a full device is reported as failed",
      file: "device-file.ts",
      of: 'return this.#fail("write", error);',
      by: "return false;",
    },
    {
      invariant: "8 and costs no data",
      file: "device-file.ts",
      of: 'return this.#fail("write", error);',
      by: 'return !this.#fail("write", error);',
    },
  ],
};

const BITES = { "the MDM": MDM, mappings: MAPPINGS, promises: PROMISES, space: SPACE };

for (const [what, bite] of Object.entries(BITES))
  t.test(`${what}: what is broken is found out`, { timeout: 600_000 }, (t) => testTeeth(t, bite));
