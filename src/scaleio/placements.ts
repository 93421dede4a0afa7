import fs from "node:fs";
import type { Layer } from "./layers.ts";
import type { Id } from "./model.ts";
import type { Copies } from "./pool/capacity-states.ts";
import { layerStates, recordDir, tally } from "./sdc/books.ts";
import { BIT, INHERITED, type Layout, SLOTS } from "./sdc/layout.ts";
import { ledgerFiles } from "./sdc/ledger.ts";

interface Known {
  readonly mapVersion: number;
  /** When the ledger was written to last. */
  readonly written: number;
  readonly placements: readonly Copies[];
}

/** Files written to within so many ms may be written to again without showing it: the kernel's clock for them is coarse. */
const COARSE_MS = 100;

/**
 * Where layers have copies of the chunks that they hold, by their ledgers. With thousands of layers reading them all takes
 * seconds, so what was read is kept for as long as map and ledger are what they were.
 */
export class Placements {
  readonly #stateDir: string;
  readonly #known = new Map<Id, Known>();

  constructor(stateDir: string) {
    this.#stateDir = stateDir;
  }

  /** By the layer's layout in this version of the map. Throws as layerStates. */
  of(layer: Pick<Layer, "id" | "sizeBytes">, layout: Layout, mapVersion: number): readonly Copies[] {
    const written = this.#written(layer.id);
    const known = this.#known.get(layer.id);
    if (known?.mapVersion === mapVersion && known.written === written) return known.placements;
    const placements = placementsOf(layout, layerStates(this.#stateDir, layer));
    if (Date.now() - written > COARSE_MS) this.#known.set(layer.id, { mapVersion, written, placements });
    else this.#known.delete(layer.id);
    return placements;
  }

  /** Forgets all other layers. */
  keep(layers: ReadonlyMap<Id, unknown>): void {
    for (const id of this.#known.keys()) if (!layers.has(id)) this.#known.delete(id);
  }

  #written(id: Id): number {
    const times = ledgerFiles(recordDir(this.#stateDir, id)).map(
      (file) => fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0,
    );
    return Math.max(...times);
  }
}

/** The same of any states; chunks that lie in a layer below are left out. */
export function placementsOf(layout: Layout, states: Uint8Array): Copies[] {
  const found = new Map<string, Copies & { chunks: number }>();
  for (const { group, state, chunks } of tally(layout, states)) {
    if ((state & INHERITED) !== 0) continue;
    const places: number[] = [];
    const incomplete: number[] = [];
    for (const slot of SLOTS) {
      if ((state & BIT[slot]) === 0) places.push(layout.deviceOf(group, slot));
      else if ((layout.activeOf(group) & BIT[slot]) !== 0) incomplete.push(layout.deviceOf(group, slot));
    }
    const key = `${places}/${incomplete}`;
    const alike = found.get(key);
    if (alike === undefined) found.set(key, { places, incomplete, chunks });
    else alike.chunks += chunks;
  }
  return [...found.values()];
}
