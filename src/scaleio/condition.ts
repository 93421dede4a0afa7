import fs from "node:fs";
import type { Layer } from "./layers.ts";
import { type Books, readBooks } from "./sdc/books.ts";
import { layoutOf, type Session } from "./sdc/session.ts";

/** What is known of a layer's copies; `problem` when its records cannot be read. */
export interface Condition {
  readonly staleCopies: number;
  readonly unsyncedChunks: number;
  readonly garbage: number;
  readonly absorbing: number;
  readonly problem: string;
}

export const GOOD: Condition = { staleCopies: 0, unsyncedChunks: 0, garbage: 0, absorbing: 0, problem: "" };
/** 0: there is nothing to make good. */
export const toDo = (condition: Omit<Condition, "problem">) =>
  condition.staleCopies + condition.unsyncedChunks + condition.garbage + condition.absorbing;

/** Reads the records of a layer without an engine. A device that should have its file and has not holds no good copy. */
export function assess(stateDir: string, layer: Layer, session: Session): Condition {
  let books: Books;
  try {
    books = readBooks(stateDir, layer, layoutOf(session), false);
  } catch (error) {
    return { ...GOOD, problem: error instanceof Error ? error.message : String(error) };
  }
  const missing = session.devices.filter(({ state, file }) => state === "up" && !fs.existsSync(file)).length;
  const { staleCopies, unsyncedChunks, garbage, absorbing } = books;
  return { staleCopies: staleCopies + missing, unsyncedChunks, garbage, absorbing, problem: "" };
}
