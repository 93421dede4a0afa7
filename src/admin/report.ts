import type { ClusterApi } from "../scaleio/cluster-api.ts";
import type { ClusterStatus, ClusterVolumeStatus, VolumeLayout } from "../scaleio/model.ts";
import type { VolumeService } from "../volumes/service.ts";

/** Which daemon answers. */
export interface DaemonInfo {
  readonly pid: number;
  readonly version: string;
  /** RFC 3339. */
  readonly startedAt: string;
  readonly stateDir: string;
  readonly runDir: string;
}

/** A volume of the cluster with what the volume service knows of it. */
export interface VolumeReport extends ClusterVolumeStatus {
  /** Where containers bind it from; "" while not mounted. */
  readonly mountpoint: string;
}

/** The answer of GET /status and of `rexray-sim status --json`. */
export interface StatusReport extends ClusterStatus {
  readonly volumes: readonly VolumeReport[];
  /** Paths of the plugin sockets. */
  readonly plugins: readonly string[];
  /** Marathon's and Mesos' addresses; none without agents. */
  readonly apis: readonly string[];
  readonly daemon: DaemonInfo;
}

/** The answer of GET /volumes/:name and of `rexray-sim volume inspect --json`. */
export interface VolumeInspection extends VolumeLayout {
  readonly mountpoint: string;
}

/** A volume that a stop had to leave mounted and served. */
export interface RemainingVolume {
  readonly name: string;
  /** Who holds it, for a person; empty when it cannot be seen from here. */
  readonly heldBy: readonly string[];
}

/** The answer of POST /down. */
export interface DownReport {
  readonly remaining: readonly RemainingVolume[];
}

/** Everything about the running system, on one page. */
export async function statusReport(
  cluster: ClusterApi,
  volumes: VolumeService,
  plugins: readonly string[],
  daemon: DaemonInfo,
  apis: readonly string[] = [],
): Promise<StatusReport> {
  const [status, views] = await Promise.all([cluster.status(), volumes.list()]);
  const mountpoints = new Map(views.map((view) => [view.name, view.mountpoint]));
  return {
    isCurrent: status.isCurrent,
    health: status.health,
    reasons: status.reasons,
    alerts: status.alerts,
    mdm: status.mdm,
    sds: status.sds,
    pools: status.pools,
    scans: status.scans,
    volumes: status.volumes.map((volume) => ({ ...volume, mountpoint: mountpoints.get(volume.name) ?? "" })),
    plugins,
    apis,
    daemon,
  };
}
