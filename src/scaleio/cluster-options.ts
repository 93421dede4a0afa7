import type { ThrottlePolicy } from "./pool/throttle.ts";

/** What the cluster needs of the configuration (config/ has the words for users). */
export interface ClusterConfig {
  readonly protectionDomain: string;
  readonly pool: string;
  readonly sparePercentage: number;
  /** Whether every block of every copy gets a checksum. */
  readonly checksum: boolean;
  /** What the background scanner may read of every device in a second; 0: it is off. */
  readonly scannerBytesPerSecond: number;
  /** How long a node that may come back is waited for before its copies are made anew elsewhere (ms). */
  readonly rebuildGraceMs: number;
  readonly rebuildPolicy: ThrottlePolicy;
  readonly rebalancePolicy: ThrottlePolicy;
  /** Volume sizes are multiples of this many bytes. */
  readonly granularityBytes: number;
  readonly sds: readonly {
    readonly name: string;
    readonly faultSet: string;
    readonly devices: readonly { readonly name: string; readonly path: string; readonly sizeBytes: number }[];
  }[];
}

export interface ClusterOptions {
  readonly config: ClusterConfig;
  readonly stateDir: string;
  readonly runDir: string;
  /** Names of the hosts that may have volumes. */
  readonly hosts: readonly string[];
  /** Where sdc-engine.js and sdc-supervisor.sh lie. */
  readonly binDir: string;
  /** A volume was taken away from this host, which was mapped to it. */
  readonly preempted?: (host: string, volumeName: string) => void;
  /** There was no quorum of the MDM at the start, and now there is: the state is another one. */
  readonly resumed?: () => void;
  /** A line for the log, for what happens without having been asked for. */
  readonly log: (message: string) => void;
}
