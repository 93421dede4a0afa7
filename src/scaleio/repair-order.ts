import { type Condition, toDo } from "./condition.ts";
import type { EngineStatus } from "./sdc/session.ts";

type Work = Pick<Condition, "staleCopies" | "degradedChunks">;

/** Whether all that can be copied has two good copies already: it is for balance, an evacuation, a node that was in maintenance. */
const onlyMoves = ({ staleCopies, degradedChunks }: Work) => staleCopies > 0 && degradedChunks === 0;

/**
 * Says which unit (repairer.ts) goes first: rebuild before rebalance (spec/scaleio.md 1.7). One that only moves copies gives way
 * while another one has chunks with a single good copy and gets on with them; a rebuild that does not holds nobody up.
 *
 * Attached ones take their steps side by side, in rounds. Those without an engine are in a queue, where what only moves comes
 * behind all others; what there is to do for one is known when it has been looked at.
 */
export class RepairOrder {
  /** To be looked at. */
  readonly #queue = new Set<string>();
  /** They only move, as was seen. */
  readonly #moving = new Set<string>();
  /** A layer without an engine was rebuilt since the queue has last been gone through: there may be more. */
  #rebuilt = false;
  #isTurnOfMoves = false;
  /** Attached ones that are being rebuilt. */
  readonly #attached = new Set<string>();
  /** Attached ones whose last step changed nothing, with the condition it left: what remains needs a device that is down. */
  readonly #stuck = new Map<string, string>();

  /** How many are in the queue. */
  get size(): number {
    return this.#queue.size + this.#moving.size;
  }

  has(unit: string): boolean {
    return this.#queue.has(unit) || this.#moving.has(unit);
  }

  /** Something may have changed for it. */
  look(unit: string): void {
    this.#stuck.delete(unit);
    this.add(unit);
  }

  add(unit: string): void {
    this.#moving.delete(unit);
    this.#queue.add(unit);
  }

  /** Takes it out of the queue, if it is there. */
  delete(unit: string): boolean {
    return this.#queue.delete(unit) || this.#moving.delete(unit);
  }

  forget(unit: string): void {
    this.#stuck.delete(unit);
    this.delete(unit);
  }

  /** The queue in its order, for who takes them out. One that cannot be had may stay: others come behind it all the same. */
  *[Symbol.iterator](): Generator<string> {
    this.#isTurnOfMoves = false;
    yield* this.#queue;
    this.#rebuilt = false;
    this.#isTurnOfMoves = true;
    for (const unit of this.#moving) {
      if (this.#isRebuilding) return;
      yield unit;
    }
  }

  /** Whether one that was taken out has to wait with this to do: then it is in the queue again. */
  postpones(unit: string, work: Work): boolean {
    if (!onlyMoves(work) || (this.#isTurnOfMoves && !this.#isRebuilding)) return false;
    // Something may have changed for it meanwhile.
    if (!this.#queue.has(unit)) this.#moving.add(unit);
    return true;
  }

  /** One without an engine has taken a step. Whether it gets on. */
  goesOn(before: EngineStatus, after: EngineStatus): boolean {
    const worked = hasWorked(before, after);
    if (worked && before.degradedChunks > 0) this.#rebuilt = true;
    return worked;
  }

  /** All attached ones are going to say what they have to do, before any takes its step. */
  nextRound(): void {
    this.#attached.clear();
  }

  note(unit: string, { degradedChunks }: Work): void {
    if (degradedChunks > 0 && !this.#stuck.has(unit)) this.#attached.add(unit);
  }

  /** Whether an attached one is to take a step. */
  isItsTurn(unit: string, status: EngineStatus): boolean {
    if (toDo(status) === 0 || this.#stuck.get(unit) === fingerprint(status)) return false;
    return !(onlyMoves(status) && this.#isRebuilding);
  }

  /** An attached one has taken a step. Whether it gets on. */
  stepped(unit: string, before: EngineStatus, after: EngineStatus): boolean {
    const worked = hasWorked(before, after);
    if (worked) this.#stuck.delete(unit);
    else this.#stuck.set(unit, fingerprint(after));
    return worked;
  }

  get #isRebuilding(): boolean {
    return this.#rebuilt || this.#attached.size > 0;
  }
}

/** Whether an engine has made anything good; of one that does not say it, by what it counts. */
const hasWorked = (before: EngineStatus, { worked, ...after }: EngineStatus) =>
  worked === undefined ? fingerprint(before) !== fingerprint(after) : worked > 0;

const fingerprint = (status: EngineStatus) =>
  `${status.staleCopies}/${status.unsyncedChunks}/${status.garbage}/${status.absorbing}/${status.mapVersion}`;
