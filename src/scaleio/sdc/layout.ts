import { CHUNK_BYTES, type VolumeRecord } from "../model.ts";

/** The two copies of a chunk: 0 is the primary, 1 the secondary. */
export type Slot = 0 | 1;

/** Where a volume's chunks lie: chunk -> group -> the pair of devices. Pure arithmetic over the map. */
export class Layout {
  readonly chunks: number;
  readonly #groups: Uint16Array;
  readonly #count: number;
  readonly #first: number;

  /** @param groups the pool's table, flat: primary and secondary device index of each group in turn */
  constructor(volume: Pick<VolumeRecord, "sizeBytes" | "firstGroup">, groups: readonly number[]) {
    this.chunks = volume.sizeBytes / CHUNK_BYTES;
    this.#groups = Uint16Array.from(groups);
    this.#count = groups.length / 2;
    this.#first = volume.firstGroup;
  }

  /** Index of the device that holds this copy of the chunk, at byte chunk * CHUNK_BYTES of the volume's file there. */
  device(chunk: number, slot: Slot): number {
    return this.#groups[((this.#first + chunk) % this.#count) * 2 + slot] as number;
  }
}
