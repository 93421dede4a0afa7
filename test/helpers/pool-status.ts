import type { ClusterStatus } from "../../src/scaleio/model.ts";

/** Of a pool's status: that nothing is in use, nothing is to do, and all is where it belongs. */
export const NOTHING = {
  rebuildBytes: 0,
  rebuildSecondsLeft: null,
  rebalanceBytes: 0,
  rebalanceSecondsLeft: null,
  absorbBytes: 0,
  absorbSecondsLeft: null,
  imbalance: 0,
  unbalancedDevice: "",
  inUseBytes: 0,
  thickBytes: 0,
  thinBytes: 0,
  protectedBytes: 0,
  inMaintenanceBytes: 0,
  semiProtectedBytes: 0,
  degradedHealthyBytes: 0,
  degradedFailedBytes: 0,
  failedBytes: 0,
  unreachableUnusedBytes: 0,
  unusedBytes: 0,
} as const satisfies Partial<ClusterStatus["pools"][number]>;
