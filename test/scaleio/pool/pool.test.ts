import fc from "fast-check";
import t from "tap";
import type { SystemState } from "../../../src/scaleio/model.ts";
import { availableBytes, checkCapacity, roundUpToGranularity, spareBytes } from "../../../src/scaleio/pool/capacity.ts";
import { groupCountFor, placeGroups } from "../../../src/scaleio/pool/placement.ts";
import { testLives } from "../../helpers/lives.ts";
import { Simulation } from "./promises-simulation.ts";

const GIB = 1024 ** 3;
const KIB = 1024;

t.test("copies lie in different fault units, shares follow capacity, streams move on", (t) => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 4, maxLength: 24 }), (sizes) => {
      const devices = sizes.map((size, i) => ({ capacityBytes: size * 100 * GIB, faultUnit: `sds-${i}` }));
      const count = groupCountFor(devices.length);
      const table = placeGroups(devices, count);
      const total = sizes.reduce((sum, size) => sum + size, 0);
      const shares = sizes.map(() => 0);
      for (const [primary, secondary] of table) {
        if (primary === secondary) return false;
        for (const device of [primary, secondary]) shares[device] = (shares[device] as number) + 1;
      }
      // A device larger than all others together cannot have its full share: its copies need partners.
      if (sizes.some((size) => size * 2 > total)) return true;
      return sizes.every((size, i) => Math.abs((shares[i] as number) / (2 * count) / (size / total) - 1) < 0.05);
    }),
    { numRuns: 50 },
  );
  const four = placeGroups(
    Array.from({ length: 4 }, (_, i) => ({ capacityBytes: GIB, faultUnit: String(i) })),
    256,
  );
  t.ok(
    four.filter(([primary], i) => i > 0 && four[i - 1]?.[0] === primary).length < four.length / 8,
    "streams move on",
  );
  t.equal(new Set(four.map(String)).size, 12, "every node pairs with every other");
  t.end();
});

t.test("what a device holds has its other copies on all others evenly", (t) => {
  for (const count of [3, 4, 7, 16, 65]) {
    const devices = Array.from({ length: count }, (_, i) => ({ capacityBytes: GIB, faultUnit: `sds-${i}` }));
    const partners = devices.map(() => 0);
    for (const [a, b] of placeGroups(devices, groupCountFor(count))) {
      if (a === 2) partners[b] = (partners[b] as number) + 1;
      if (b === 2) partners[a] = (partners[a] as number) + 1;
    }
    t.equal(new Set(partners.filter((_, i) => i !== 2)).size, 1, `${count} devices`);
  }
  t.end();
});

t.test("two copies never share a fault set", (t) => {
  const devices = Array.from({ length: 9 }, (_, i) => ({ capacityBytes: GIB, faultUnit: `rack-${i % 3}` }));
  t.ok(placeGroups(devices, 512).every(([a, b]) => devices[a]?.faultUnit !== devices[b]?.faultUnit));
  t.throws(() => placeGroups(devices.slice(0, 1), 256), { code: "invalid_argument" });
  t.end();
});

t.test("capacity: the sample of the spec, rounding, the thin limit", (t) => {
  t.equal(spareBytes(311424000 * KIB, 10), 31141888 * KIB);
  t.equal(roundUpToGranularity(5 * GIB, 8 * GIB), 8 * GIB);
  t.equal(roundUpToGranularity(16 * GIB, 8 * GIB), 16 * GIB);
  const state = {
    pool: { name: "pool1", sparePercent: 10 },
    sds: [{ devices: [{ capacityBytes: 300 * GIB }] }],
    volumes: new Map([["v", { sizeBytes: 600 * GIB }]]),
  } as unknown as SystemState;
  t.equal(availableBytes(state, 8 * GIB), 72 * GIB, "five times (300 - 30) / 2, less 600, in steps of 8");
  const thin = (bytes: number) => ({ sizeBytes: bytes, thick: false, usedBytes: 0 });
  checkCapacity(state, thin(72 * GIB), 8 * GIB);
  t.throws(() => checkCapacity(state, thin(80 * GIB), 8 * GIB), {
    code: "no_capacity",
    message: /80 GB.*72 GB are left/,
  });
  const thick = (bytes: number) => ({ sizeBytes: bytes, thick: true, usedBytes: 200 * GIB });
  checkCapacity(state, thick(32 * GIB), 8 * GIB);
  t.throws(() => checkCapacity(state, thick(40 * GIB), 8 * GIB), {
    message: /cannot set 40 GB aside .*: 35 GB are free/,
  });
  t.throws(() => checkCapacity(state, { ...thin(8 * GIB), usedBytes: 250 * GIB }, 8 * GIB), {
    message: /more than 90 % full/,
  });
  t.end();
});

t.test("lives of a pool whose volumes come, grow and go at once: no more is promised than the policy allows", (t) =>
  testLives(t, Simulation, 40),
);
