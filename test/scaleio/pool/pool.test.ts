import fc from "fast-check";
import t from "tap";
import type { SystemState } from "../../../src/scaleio/model.ts";
import {
  availableBytes,
  type CapacityRequest,
  checkCapacity,
  inUseBytes,
  isCritical,
  roundUpToGranularity,
  spareBytes,
  thinAvailableBytes,
} from "../../../src/scaleio/pool/capacity.ts";
import { groupCountFor, placeGroups } from "../../../src/scaleio/pool/placement.ts";
import { mirrorableBytes } from "../../../src/scaleio/pool/shares.ts";
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
  const unit = (faultSet: string, capacityBytes: number) => ({ faultSet, devices: [{ capacityBytes }] });
  const pool = (
    volumes: readonly { sizeBytes: number; thick?: boolean }[],
    sds = ["a", "b", "c"].map((name) => unit(name, 100 * GIB)),
  ) =>
    ({ pool: { name: "pool1", sparePercent: 10 }, sds, volumes: new Map(volumes.entries()) }) as unknown as SystemState;
  const sample = pool(
    [{ sizeBytes: 8 * GIB, thick: true }, { sizeBytes: 16 * GIB }],
    [...["a", "b", "c"].map((name) => unit(name, 103_808_000 * KIB))],
  );
  t.equal(inUseBytes(sample, 30_720 * KIB), 16_807_936 * KIB);
  const left = availableBytes(sample, 30_720 * KIB, 8 * GIB);
  t.ok(left === 117_440_512 * KIB || left === 117_440_512 * KIB + 8 * GIB, "the capture is a block lower at times");

  const thin = pool([{ sizeBytes: 600 * GIB }]);
  const check = (state: SystemState, thinBytes: number, request: CapacityRequest, others: CapacityRequest[] = []) =>
    checkCapacity(state, thinBytes, 8 * GIB, request, others);
  t.equal(thinAvailableBytes(thin, 0, 8 * GIB), 144 * GIB, "(5 * 300 - 2 * 600) / 2, in steps of 8");
  t.equal(thinAvailableBytes(thin, 40 * GIB, 8 * GIB), 48 * GIB, "(5 * (300 - 40) - 2 * 600) / 2");
  t.equal(availableBytes(thin, 40 * GIB, 8 * GIB), 112 * GIB, "(300 - 30 - 40) / 2");
  check(thin, 40 * GIB, { thin: 48 * GIB });
  t.throws(() => check(thin, 40 * GIB, { thin: 56 * GIB }), { code: "no_capacity", message: /56 GB.*48 GB are left/ });
  t.throws(() => check(thin, 40 * GIB, { thin: 24 * GIB }, [{ thin: 32 * GIB }]), { message: /16 GB are left/ });
  check(thin, 40 * GIB, { thick: 112 * GIB });
  t.throws(() => check(thin, 40 * GIB, { thick: 120 * GIB }), {
    message: /cannot set 120 GB aside .*: 112 GB are free/,
  });

  const thick = pool([{ sizeBytes: 120 * GIB, thick: true }]);
  t.notOk(isCritical(thick, 2 * GIB));
  t.ok(isCritical(thick, 3 * GIB), "240 + 3 of 270: set aside is in use");
  t.throws(() => check(thick, 3 * GIB, { thin: 8 * GIB }), { message: /more than 90 % full.*no snapshot/ });
  check(thick, 3 * GIB, { thick: 8 * GIB });

  const uneven = pool([], [unit("a", 1000 * GIB), unit("b", 10 * GIB), unit("c", 10 * GIB)]);
  t.equal(availableBytes(uneven, 0, GIB), 0, "40 GB can be held twice, and 102 are to be kept free");
  t.equal(mirrorableBytes([1000, 10, 10].map((size, i) => ({ capacityBytes: size, faultUnit: `${i}` }))), 40);
  t.equal(mirrorableBytes([20, 10, 10, 10].map((size, i) => ({ capacityBytes: size, faultUnit: `${i}` }))), 50);
  t.equal(mirrorableBytes([1, 2, 3].map((size) => ({ capacityBytes: size, faultUnit: "same" }))), 0);
  t.end();
});

t.test("capacity: a device that is leaving is promised to nobody", (t) => {
  const device = { capacityBytes: 100 * GIB };
  const sds = ["a", "b", "c", "d"].map((faultSet) => ({ faultSet, devices: [device] }));
  const leaving = [...sds.slice(1), { faultSet: "a", devices: [{ ...device, leaving: true }] }];
  const state = (nodes: object) =>
    ({ pool: { sparePercent: 10 }, sds: nodes, volumes: new Map() }) as unknown as SystemState;
  t.equal(availableBytes(state(sds), 0, GIB), 180 * GIB);
  t.equal(availableBytes(state(leaving), 0, GIB), 135 * GIB);
  t.end();
});

t.test("lives of a pool whose volumes come, grow and go at once: no more is promised than the policy allows", (t) =>
  testLives(t, Simulation, 40),
);
