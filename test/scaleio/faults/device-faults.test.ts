import fs from "node:fs";
import t, { type Test } from "tap";
import type { FaultSpec } from "../../../src/lib/fault.ts";
import { FaultBook, type FaultRequest } from "../../../src/scaleio/faults/fault-book.ts";
import { DEVICE_FAULTS, faulty } from "../../../src/scaleio/faults/types.ts";
import type { Files } from "../../../src/scaleio/sdc/files.ts";
import { tempDir } from "../../helpers/temp-dir.ts";

/** What is written and read in one piece, in the middle of buffers and of the device. */
const [AT, LENGTH, POSITION] = [16, 8, 32];
const BITS = 8 * LENGTH;
const SYNCS = ["datasync", "syncRange"];

/** What comes of one operation of each kind. */
interface Outcome {
  /** Those that fail, and the error's code. */
  readonly failed: readonly string[];
  readonly code: string;
  /** Bits of what was written that the device has not, and of what it has that were not answered. */
  readonly stored: number;
  readonly answered: number;
  /** How long each has waited (ms). */
  readonly slept: readonly number[];
}

const SOUND: Outcome = { failed: [], code: "", stored: 0, answered: 0, slept: [] };

/** The fault as the command puts it on a node. */
async function fault(t: Test, type: string, more: Omit<FaultRequest, "type" | "target"> = {}): Promise<FaultSpec> {
  const dir = tempDir("faults");
  t.teardown(() => fs.rmSync(dir, { recursive: true }));
  const family = { kinds: DEVICE_FAULTS, targets: () => ["sds-1"], apply: async () => undefined };
  return new FaultBook(dir, (message) => t.fail(message)).add({ type, target: "sds-1", ...more }, [family]);
}

function outcome(t: Test, faults: readonly FaultSpec[], random?: () => number): Outcome {
  const disk = Buffer.alloc(64);
  const nothing = () => undefined;
  const sound = {
    open: () => 1,
    read: (_fd, into, at, length, position) => void disk.copy(into, at, position, position + length),
    write: (_fd, from, at, length, position) => void from.copy(disk, position, at, at + length),
    datasync: nothing,
    syncRange: nothing,
    punch: nothing,
  } as Partial<Files> as Files;
  const files = faulty(sound, faults, random);
  const slept = t.capture(Atomics, "wait", () => "timed-out" as const);

  const given = Buffer.alloc(64, 0xff);
  const into = Buffer.alloc(64);
  const failures = new Map<string, string>();
  for (const [operation, run] of Object.entries({
    open: () => files.open("file"),
    write: () => files.write(1, given, AT, LENGTH, POSITION),
    datasync: () => files.datasync(1),
    syncRange: () => files.syncRange(1, POSITION, LENGTH),
    read: () => files.read(1, into, AT, LENGTH, POSITION),
    punch: () => files.punch(1, 0, 1),
  })) {
    try {
      run();
    } catch (error) {
      failures.set(operation, (error as NodeJS.ErrnoException).code ?? "");
    }
  }
  slept.restore();
  t.ok(given.equals(Buffer.alloc(64, 0xff)), "the caller's buffer is as it was");
  const stored = disk.subarray(POSITION, POSITION + LENGTH);
  return {
    failed: [...failures.keys()],
    code: [...new Set(failures.values())].join(),
    stored: wrongBits(stored, given.subarray(AT)),
    answered: failures.has("read") ? 0 : wrongBits(stored, into.subarray(AT)),
    slept: slept().map(({ args }) => Number(args[3])),
  };
}

const wrongBits = (one: Buffer, other: Buffer) =>
  [...one]
    .map((byte, index) => (byte ^ (other[index] as number)).toString(2))
    .join("")
    .replaceAll("0", "").length;

const KINDS: readonly [type: string, attributes: Record<string, string>, Partial<Outcome>][] = [
  ["io-error", { on: "read" }, { failed: ["read"], code: "EIO" }],
  ["io-error", { on: "write" }, { failed: ["write", ...SYNCS], code: "EIO", stored: BITS }],
  ["io-error", { on: "sync" }, { failed: SYNCS, code: "EIO" }],
  ["io-error", { on: "both" }, { failed: ["write", ...SYNCS, "read"], code: "EIO", stored: BITS }],
  ["io-error", {}, { failed: ["write", ...SYNCS, "read"], code: "EIO", stored: BITS }],
  ["bit-flip", { on: "read" }, { answered: 1 }],
  ["bit-flip", { on: "write" }, { stored: 1 }],
  ["bit-flip", { on: "both" }, { stored: 1, answered: 1 }],
  ["bit-flip", {}, { stored: 1 }],
  ["lost-write", {}, { stored: BITS }],
  ["full", {}, { failed: ["write"], code: "ENOSPC", stored: BITS }],
  ["slow", { ms: "50" }, { slept: [50, 50, 50, 50] }],
  ["slow", {}, { slept: [20, 20, 20, 20] }],
  ["disconnect", {}, { failed: ["open", "write", ...SYNCS, "read", "punch"], code: "EHOSTUNREACH", stored: BITS }],
];

for (const [type, attributes, expected] of KINDS) {
  const words = Object.entries(attributes).map(([key, value]) => ` ${key}=${value}`);
  t.test(`a device with ${type}${words.join()}`, async (t) =>
    t.strictSame(outcome(t, [await fault(t, type, { attributes })]), { ...SOUND, ...expected }),
  );
}

t.test("a fault is met as often as its probability says", async (t) => {
  t.strictSame([...new Set(KINDS.map(([type]) => type))].sort(), Object.keys(DEVICE_FAULTS).sort());
  for (const [type, attributes, expected] of KINDS) {
    const rare = await fault(t, type, { attributes, probability: 0.25 });
    t.strictSame(
      outcome(t, [rare], () => 0.25),
      SOUND,
      `${type}, not met`,
    );
    t.strictSame(
      outcome(t, [rare], () => 0.24),
      { ...SOUND, ...expected },
      `${type}, met`,
    );
  }
  const luck = [0.1, 0.9, 0.3, 0.2];
  const sometimes = await fault(t, "io-error", { probability: 0.25 });
  const { failed } = outcome(t, [sometimes], () => luck.shift() as number);
  t.strictSame(failed, ["write", "read"], "each operation has its own luck");
});

t.test("a device has all of its faults, and none that a later version has put there", async (t) => {
  const [slow, full] = [await fault(t, "slow"), await fault(t, "full")];
  const both = { failed: ["write"], code: "ENOSPC", stored: BITS, answered: 0 };
  t.match(outcome(t, [full, slow]), { ...both, slept: [20, 20, 20, 20] });
  t.strictSame(outcome(t, [{ ...slow, type: "gremlin" }]), SOUND);
});
