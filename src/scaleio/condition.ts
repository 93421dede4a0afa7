import fs from "node:fs";
import type { Layer } from "./layers.ts";
import { type Books, readBooks } from "./sdc/books.ts";
import { ALL_SLOTS, BIT, COUNT, INHERITED, type Layout, SLOTS } from "./sdc/layout.ts";
import { layoutOf, type Session } from "./sdc/session.ts";

/** What is known of a layer's copies; `problem` when its records cannot be read. */
export interface Condition {
  readonly staleCopies: number;
  /** Chunks with fewer than two good copies, of which another one can be made now. */
  readonly degradedChunks: number;
  readonly unsyncedChunks: number;
  readonly garbage: number;
  readonly absorbing: number;
  readonly problem: string;
}

export const GOOD: Condition = {
  staleCopies: 0,
  degradedChunks: 0,
  unsyncedChunks: 0,
  garbage: 0,
  absorbing: 0,
  problem: "",
};
/** 0: there is nothing to make good. */
export const toDo = (condition: Omit<Condition, "problem" | "degradedChunks">) =>
  condition.staleCopies + condition.unsyncedChunks + condition.garbage + condition.absorbing;

/** Reads the records of a layer without an engine. A device that should have its file and has not holds no good copy. */
export function assess(stateDir: string, layer: Layer, session: Session): Condition {
  const layout = layoutOf(session);
  let books: Books;
  try {
    books = readBooks(stateDir, layer, layout, false);
  } catch (error) {
    return { ...GOOD, problem: error instanceof Error ? error.message : String(error) };
  }
  const places = session.devices.map(({ state, file }) => ({ up: state === "up", file: fs.existsSync(file) }));
  const missing = places.filter(({ up, file }) => up && !file).length;
  const staleCopies = books.staleCopies + missing;
  const degradedChunks = staleCopies === 0 ? 0 : countDegraded(books.states, layout, places);
  const { unsyncedChunks, garbage, absorbing } = books;
  return { staleCopies, degradedChunks, unsyncedChunks, garbage, absorbing, problem: "" };
}

/** As an engine counts them (open-layer.ts); but whether the copies that are left can be read is not looked at. */
function countDegraded(
  states: Uint8Array,
  layout: Layout,
  places: readonly { readonly up: boolean; readonly file: boolean }[],
): number {
  let degraded = 0;
  for (const [chunk, recorded] of states.entries()) {
    if ((recorded & INHERITED) !== 0) continue;
    let [up, stale] = [0, recorded & ALL_SLOTS];
    for (const slot of SLOTS) {
      const place = places[layout.device(chunk, slot)];
      if (place?.up !== true) continue;
      up |= BIT[slot];
      if (!place.file) stale |= BIT[slot];
    }
    if ((layout.due(chunk, stale) & up) !== 0 && (COUNT[up & ~stale] as number) < 2) degraded++;
  }
  return degraded;
}
