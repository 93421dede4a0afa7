import t, { type Test } from "tap";
import type { CapacityStates } from "../../../src/scaleio/model.ts";
import { type CapacityLayer, type CapacityPlace, capacityStates } from "../../../src/scaleio/pool/capacity-states.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

const places = (reaches: CapacityPlace["reach"][], capacityBytes = 100 * MIB) =>
  reaches.map((reach) => ({ capacityBytes, reach }));
const alike = (...chunks: number[][]) => chunks.map((places) => ({ places, incomplete: [], chunks: 1 }));
const layer = (more: Partial<CapacityLayer>): CapacityLayer => ({
  sizeBytes: 3 * MIB,
  thick: false,
  used: [2 * MIB, 2 * MIB, 2 * MIB],
  copies: alike([0, 1], [1, 2], [2, 0]),
  ...more,
});

/** Of three places of 100 MiB. */
function checkSum(t: Test, states: CapacityStates, what: string): void {
  const { spareBytes, inUseBytes, degradedFailedBytes, failedBytes, unreachableUnusedBytes, unusedBytes } = states;
  const all = spareBytes + inUseBytes + degradedFailedBytes + failedBytes + unreachableUnusedBytes + unusedBytes;
  t.equal(all, 300 * MIB, what);
  const { protectedBytes, inMaintenanceBytes, semiProtectedBytes, degradedHealthyBytes } = states;
  t.equal(inUseBytes, protectedBytes + inMaintenanceBytes + semiProtectedBytes + degradedHealthyBytes, what);
}

t.test("the sample pool of the spec", async (t) => {
  const pool = places(["up", "up", "up"], 103_808_000 * KIB);
  const thick = layer({ sizeBytes: 8 * GIB, thick: true, used: [MIB, MIB, 0], copies: undefined });
  const thin = layer({ sizeBytes: 16 * GIB, used: [10_240 * KIB, 10_240 * KIB, 10_240 * KIB], copies: undefined });
  const states = capacityStates(pool, [thick, thin], 10);
  t.match(states, {
    spareBytes: 31_141_888 * KIB,
    inUseBytes: 16_807_936 * KIB,
    thickBytes: 16_777_216 * KIB,
    thinBytes: 30_720 * KIB,
    protectedBytes: 16_807_936 * KIB,
    unusedBytes: 263_474_176 * KIB,
    unreachableUnusedBytes: 0,
    failedBytes: 0,
  });
});

t.test("a node is away, in maintenance, or two are: the states say so and add up", async (t) => {
  const cases = {
    degraded: capacityStates(places(["up", "up", "down"]), [layer({})], 10),
    maintenance: capacityStates(places(["up", "up", "maintenance"]), [layer({})], 10),
    failed: capacityStates(places(["up", "down", "down"]), [layer({})], 10),
  };
  const none = { inMaintenanceBytes: 0, degradedHealthyBytes: 0, degradedFailedBytes: 0, failedBytes: 0 };
  const away = { unreachableUnusedBytes: 98 * MIB, protectedBytes: 2 * MIB };
  t.match(cases.degraded, { ...none, ...away, degradedHealthyBytes: 2 * MIB, degradedFailedBytes: 2 * MIB });
  t.match(cases.maintenance, { ...none, ...away, inMaintenanceBytes: 4 * MIB });
  t.match(cases.failed, {
    protectedBytes: 0,
    degradedHealthyBytes: 2 * MIB,
    degradedFailedBytes: 2 * MIB,
    failedBytes: 2 * MIB,
    unreachableUnusedBytes: 196 * MIB,
  });
  for (const [name, states] of Object.entries(cases)) {
    checkSum(t, states, name);
  }
});

t.test("what is being rebuilt is semi-protected, where the new copy is within reach", async (t) => {
  const copies = [
    { places: [0, 1], incomplete: [], chunks: 1 },
    { places: [1], incomplete: [0], chunks: 1 },
    { places: [0], incomplete: [2], chunks: 1 },
    { places: [1, 2], incomplete: [0], chunks: 1 },
    { places: [2], incomplete: [1], chunks: 1 },
  ];
  const used = [2 * MIB, 3 * MIB, 2 * MIB];
  const states = capacityStates(places(["up", "up", "down"]), [layer({ copies, used })], 10);
  t.match(states, {
    protectedBytes: 2 * MIB,
    semiProtectedBytes: 4 * MIB,
    degradedHealthyBytes: MIB,
    degradedFailedBytes: MIB,
    failedBytes: MIB,
  });
  checkSum(t, states, "they add up");
});

t.test("what an SDS in maintenance has missed is in maintenance too", async (t) => {
  const copies = [{ places: [0], incomplete: [2], chunks: 2 }];
  const states = capacityStates(places(["up", "up", "maintenance"]), [layer({ copies })], 10);
  t.match(states, { inMaintenanceBytes: 4 * MIB, degradedHealthyBytes: 0 });
});

t.test("a copy that is stale counts as lost, and is no good side of anything", async (t) => {
  const states = capacityStates(places(["up", "up", "up"]), [layer({ copies: alike([0, 1], [1], [2, 0]) })], 10);
  t.match(states, { degradedHealthyBytes: MIB, degradedFailedBytes: MIB, failedBytes: 0 });
  t.match(capacityStates(places(["up", "up", "up"]), [layer({ copies: alike([], [1, 2], [2, 0]) })], 10), {
    failedBytes: 0,
    degradedHealthyBytes: 0,
  });
});
