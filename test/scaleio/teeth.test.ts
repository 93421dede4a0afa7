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
    },
    {
      invariant: "7 a torn write of several changes does not take the member's earlier ones along",
      file: "member.ts",
      of: 'rest === "" || isOfWrite(rest, next)',
      by: 'rest === ""',
    },
  ],
};

for (const [what, bite] of Object.entries({ "the MDM": MDM }))
  t.test(`${what}: what is broken is found out`, { timeout: 600_000 }, (t) => testTeeth(t, bite));
