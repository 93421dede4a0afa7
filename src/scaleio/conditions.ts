import { type Condition, GOOD, toDo } from "./condition.ts";

/**
 * What is known of the layers that have no engine, by their units (sessions.ts): how each was when it was last looked at, and by
 * which map. Nothing here is on disk: after a start all are looked at.
 */
export class Conditions {
  /** Those that are not good. */
  readonly #bad = new Map<string, Condition>();
  readonly #cleared = new Map<string, number>();
  readonly #sound = new Map<string, number>();

  of(unit: string): Condition {
    return this.#bad.get(unit) ?? GOOD;
  }

  /** Version of the newest map by which a unit has given up its retired copies; 0 when none is known. */
  clearedBy(unit: string): number {
    return this.#cleared.get(unit) ?? 0;
  }

  /** As {@link clearedBy}: of a unit of which besides every copy is good, and which nobody has opened since. */
  soundBy(unit: string): number {
    return this.#sound.get(unit) ?? 0;
  }

  /** It was looked at, by this map. */
  note(unit: string, mapVersion: number, condition: Condition): void {
    const { staleCopies, unsyncedChunks, garbage, problem } = condition;
    if (problem === "" && toDo(condition) === 0) this.#bad.delete(unit);
    else this.#bad.set(unit, condition);
    this.#sound.delete(unit);
    if (problem !== "" || garbage > 0) return;
    this.#cleared.set(unit, mapVersion);
    // What has to be compared yet may turn out to be stale.
    if (staleCopies + unsyncedChunks === 0) this.#sound.set(unit, mapVersion);
  }

  /** Somebody opens it. */
  opened(unit: string): void {
    this.#sound.delete(unit);
  }

  /** It has an engine, which speaks for itself. */
  attached(unit: string): void {
    this.#bad.delete(unit);
  }

  forget(unit: string): void {
    for (const known of [this.#bad, this.#cleared, this.#sound]) known.delete(unit);
  }
}
