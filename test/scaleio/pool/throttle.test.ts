import t from "tap";
import { Throttle, type ThrottlePolicy } from "../../../src/scaleio/pool/throttle.ts";

const policy = (name: ThrottlePolicy["policy"], more: Partial<ThrottlePolicy> = {}): ThrottlePolicy => ({
  policy: name,
  concurrentIos: 1,
  bandwidthKbps: 10_240,
  appIopsThreshold: 10,
  appBandwidthKbpsThreshold: 1024,
  quietPeriodMs: 1000,
  ...more,
});
const IDLE = { iops: 0, kbps: 0 };
const BUSY = { iops: 500, kbps: 2000 };
const MIB = 1024 * 1024;

t.test("unlimited: no rest, whatever applications do", async (t) => {
  t.equal(new Throttle().pace(policy("unlimited"), BUSY, 4, 0).rest(10, MIB), 0);
});

t.test(
  "limitNumOfConcurrentIos: applications have three turns of four; more copies at a time, less rest",
  async (t) => {
    t.equal(new Throttle().pace(policy("limitNumOfConcurrentIos"), BUSY, 4, 0).rest(10, MIB), 30);
    t.equal(new Throttle().pace(policy("limitNumOfConcurrentIos", { concurrentIos: 5 }), BUSY, 4, 0).rest(10, MIB), 6);
    t.equal(new Throttle().pace(policy("limitNumOfConcurrentIos"), IDLE, 4, 0).rest(10, MIB), 0, "none for nobody");
  },
);

t.test("favorAppIos: 10 MB a second for each device while applications are at work", async (t) => {
  const pace = new Throttle().pace(policy("favorAppIos"), BUSY, 4, 0);
  t.equal(pace.rest(5, 2 * MIB) + 5, 50, "2 MiB in 50 ms: 40 MiB a second on four devices");
  t.ok(
    new Throttle().pace(policy("favorAppIos"), IDLE, 4, 0).chunks > pace.chunks,
    "in larger steps when they are not",
  );
});

t.test("dynamicBwThrottling: by thresholds, and until a quiet period is over", async (t) => {
  const throttle = new Throttle();
  const dynamic = policy("dynamicBwThrottling");
  const gentle = throttle.pace(dynamic, BUSY, 4, 1000).chunks;
  t.equal(throttle.pace(dynamic, IDLE, 4, 1900).chunks, gentle, "still within the quiet period");
  t.ok(throttle.pace(dynamic, { iops: 9, kbps: 100 }, 4, 2100).chunks > gentle, "below the thresholds for long enough");
});
