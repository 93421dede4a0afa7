import { CHUNK_BYTES, type GroupTable, type VolumeRecord } from "../model.ts";

/** The places of a chunk's copies. Two are taken; the third is for a copy that is being made elsewhere. */
export type Slot = 0 | 1 | 2;
export const SLOTS: readonly Slot[] = [0, 1, 2];
/**
 * Of a chunk's state: the layer does not hold the chunk, it shows through from the layer below (lower-layers.ts). The slots
 * may hold anything then.
 */
export const INHERITED = 8;
/** As a bit of a mask of slots. */
export const BIT = [1, 2, 4] as const;
export const ALL_SLOTS = 7;
/** How many slots are in a mask. */
export const COUNT = [0, 1, 1, 2, 1, 2, 2, 3] as const;

/** The pool's table as layouts use it. */
interface Table {
  /** Four a group: the device of each slot, -1 for none, and the mask of the slots that are being given up. */
  readonly groups: Int16Array;
  /** For each group the mask of the slots that are kept. */
  readonly active: Uint8Array;
}

/** One for each map, however many layers there are. */
const flatOf = new WeakMap<GroupTable, readonly number[]>();
const tableOf = new WeakMap<readonly number[], Table>();

/** The pool's table as a session has it: four numbers a group. */
export function flatGroups(groups: GroupTable): readonly number[] {
  const known = flatOf.get(groups) ?? groups.flat();
  flatOf.set(groups, known);
  return known;
}

function tableFor(numbers: readonly number[]): Table {
  const known = tableOf.get(numbers);
  if (known !== undefined) return known;
  const groups = Int16Array.from(numbers);
  const active = new Uint8Array(groups.length / 4);
  for (let group = 0; group < active.length; group++) {
    const at = group * 4;
    let mask = 0;
    for (let slot = 0; slot < 3; slot++) if ((groups[at + slot] as number) >= 0) mask |= 1 << slot;
    active[group] = mask & ~(groups[at + 3] as number);
  }
  const table = { groups, active };
  tableOf.set(numbers, table);
  return table;
}

/** Where a volume's chunks lie: chunk -> group -> slots -> devices. Pure arithmetic over the map. */
export class Layout {
  readonly chunks: number;
  /** Whether any device rests. */
  readonly rests: boolean;
  readonly #resting: readonly boolean[];
  readonly #up: readonly boolean[];
  readonly #groups: Int16Array;
  readonly #active: Uint8Array;
  readonly #count: number;
  readonly #first: number;

  /**
   * @param groups the pool's table, flat; it must not change
   * @param resting for each device whether it is in maintenance
   * @param up for each device whether it works, where any rests
   */
  constructor(
    volume: Pick<VolumeRecord, "sizeBytes" | "firstGroup">,
    groups: readonly number[],
    resting: readonly boolean[] = [],
    up: readonly boolean[] = [],
  ) {
    const table = tableFor(groups);
    this.rests = resting.includes(true);
    this.#resting = resting;
    this.#up = up;
    this.chunks = volume.sizeBytes / CHUNK_BYTES;
    this.#groups = table.groups;
    this.#active = table.active;
    this.#count = table.active.length;
    this.#first = volume.firstGroup;
  }

  /** How many groups the pool has. */
  get groups(): number {
    return this.#count;
  }

  group(chunk: number): number {
    return (this.#first + chunk) % this.#count;
  }

  /** Index of the device of a group's slot; -1: none. */
  deviceOf(group: number, slot: Slot): number {
    return this.#groups[group * 4 + slot] as number;
  }

  /** Index of the device that holds this copy of the chunk, at byte chunk * CHUNK_BYTES of the volume's file there; -1: none. */
  device(chunk: number, slot: Slot): number {
    return this.deviceOf(this.group(chunk), slot);
  }

  /** Mask of the slots whose copies are not to be kept: new data goes there only if there is no other place. */
  retired(chunk: number): number {
    return this.#groups[this.group(chunk) * 4 + 3] as number;
  }

  /**
   * The state of a chunk that is zeros and that nobody has written to: good wherever the map has a place for it on a device that
   * has the layer's file now. An empty file that is made later is not told from one that was lost.
   */
  untouched(chunk: number, hasFile: (device: number) => boolean): number {
    const active = this.active(chunk);
    let good = 0;
    for (const slot of SLOTS) if ((active & BIT[slot]) !== 0 && hasFile(this.device(chunk, slot))) good |= BIT[slot];
    return ALL_SLOTS & ~(good || active);
  }

  /** Mask of the slots whose copies are kept. */
  active(chunk: number): number {
    return this.activeOf(this.group(chunk));
  }

  activeOf(group: number): number {
    return this.#active[group] as number;
  }

  /** Mask of the slots whose devices rest. */
  resting(chunk: number): number {
    return this.rests ? this.#maskOf(chunk, this.#resting) : 0;
  }

  #maskOf(chunk: number, devices: readonly boolean[]): number {
    let mask = 0;
    for (const slot of SLOTS) if (devices[this.device(chunk, slot)] === true) mask |= BIT[slot];
    return mask;
  }

  /**
   * Of a chunk in this state the mask of the copies that are to be made good. A good copy that rests counts as one of two: the
   * third one is there for what is written meanwhile.
   */
  due(chunk: number, state: number): number {
    const active = this.active(chunk);
    const stale = state & active;
    if (stale === 0 || !this.rests) return stale;
    const good = active & ~state;
    const resting = this.resting(chunk);
    return (good & resting) !== 0 && (good & ~resting & this.#maskOf(chunk, this.#up)) !== 0 ? 0 : stale;
  }
}
