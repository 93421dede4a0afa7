/**
 * What a volume may answer, sector by sector. A sector holds one tag (a number) repeated; 0 is zeros. `live`: tags that a
 * read may find now. `durable`: tags that it may find after a power loss.
 */
export class Model {
  readonly #live = new Map<number, Set<number>>();
  readonly #durable = new Map<number, Set<number>>();

  /** A write that is not acknowledged yet may be seen or not. */
  begin(sector: number, tag: number): void {
    this.#live.set(sector, new Set([...this.live(sector), tag]));
    this.#durable.set(sector, new Set([...this.#lasting(sector), tag]));
  }

  acknowledge(sector: number, tag: number): void {
    this.#live.set(sector, new Set([tag]));
  }

  flushed(): void {
    for (const [sector, tags] of this.#live) this.#durable.set(sector, new Set(tags));
  }

  powerLoss(): void {
    for (const [sector, tags] of this.#durable) this.#live.set(sector, new Set(tags));
  }

  live(sector: number): ReadonlySet<number> {
    return this.#live.get(sector) ?? new Set([0]);
  }

  /** What was read once must be read again. */
  observed(sector: number, tag: number): void {
    this.#live.set(sector, new Set([tag]));
  }

  /** Another volume that holds what this one holds, on disk already. */
  copy(): Model {
    const copy = new Model();
    copy.become(this);
    return copy;
  }

  become(other: Model): void {
    this.#live.clear();
    this.#durable.clear();
    for (const [sector, tags] of other.#live) this.#live.set(sector, new Set(tags));
    for (const [sector, tags] of other.#durable) this.#durable.set(sector, new Set(tags));
  }

  #lasting(sector: number): ReadonlySet<number> {
    return this.#durable.get(sector) ?? new Set([0]);
  }
}
