import type { FaultKindInfo, FaultSpec } from "../../lib/fault.ts";
import type { SystemState } from "../model.ts";

/** What faults of this sort can see and do; cluster.ts has it. */
export interface FaultySystem {
  readonly state: () => SystemState;
  /** Hosts that may have volumes, by name. */
  readonly hosts: readonly string[];
  readonly stopSds: (name: string) => Promise<void>;
  readonly startSds: (name: string) => Promise<void>;
  /** These MDM members ("1" to "3") are to be down, all others may be up. */
  readonly mdmDown: (members: readonly string[]) => Promise<void>;
  /** Engines are to be told. */
  readonly changed: () => Promise<void>;
}

/**
 * A kind of fault of a part of the cluster as a whole, which is down or cut off for as long as the fault is there. One file a
 * kind; types.ts lists them.
 */
export interface SystemFault extends FaultKindInfo {
  readonly steady: true;
  /** What it can be put on now. */
  targets(system: FaultySystem): readonly string[];
  /** Has the system be as these faults of the kind say; also at the start. `removed` were there until now. */
  apply(system: FaultySystem, faults: readonly FaultSpec[], removed: readonly FaultSpec[]): Promise<void>;
}
