/** What the rest of the daemon may ask of the simulated cluster, besides the storage-driver interface. */
import type { ClusterStatus, VolumeLayout } from "./model.ts";

export interface ClusterApi {
  status(): Promise<ClusterStatus>;
  /** Throws not_found. `chunks`: include the row per chunk. */
  layout(volumeName: string, options: { chunks: boolean }): Promise<VolumeLayout>;
  /** Takes an SDS down as if its node had lost power. Idempotent. Throws not_found, no_quorum. */
  stopSds(name: string): Promise<void>;
  /** Brings it back; its stale copies are rebuilt in the background. Idempotent. Throws not_found, no_quorum, unavailable. */
  startSds(name: string): Promise<void>;
}
