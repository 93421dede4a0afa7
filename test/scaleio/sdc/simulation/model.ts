/** What a sector may hold: `live` now, `durable` after a power loss. */
interface Sector {
  readonly live: ReadonlySet<number>;
  readonly durable: ReadonlySet<number>;
  /** A failed sync was told about it, and there is no other good copy: whatever it held since the last flush may show up. */
  readonly suspect: boolean;
}

const NOTHING: Sector = { live: new Set([0]), durable: new Set([0]), suspect: false };

/** What a volume may answer, sector by sector. A sector holds one tag (a number) repeated; 0 is zeros. */
export class Model {
  readonly #sectors = new Map<number, Sector>();
  /** Those whose `durable` a flush may change. */
  readonly #unflushed = new Set<number>();

  /** Suspect since the last write to it began. */
  readonly #lost = new Set<number>();

  /** A write that is not acknowledged yet may be seen or not. */
  begin(sector: number, tag: number): void {
    this.#lost.delete(sector);
    const { live, durable, suspect } = this.#at(sector);
    this.#set(sector, { live: new Set(live).add(tag), durable: new Set(durable).add(tag), suspect });
  }

  acknowledge(sector: number, tag: number): void {
    // Lost in the middle of the request, when another part of it was synced.
    if (this.#lost.has(sector)) return;
    this.#set(sector, { live: new Set([tag]), durable: this.#at(sector).durable, suspect: false });
  }

  /** What was read once must be read again. */
  observed(sector: number, tag: number): void {
    const { live, durable, suspect } = this.#at(sector);
    if (!suspect && live.size > 1) this.#set(sector, { live: new Set([tag]), durable, suspect });
  }

  /** All that was acknowledged is on disk. */
  flushed(): void {
    for (const sector of this.#unflushed) {
      const { live, suspect } = this.#at(sector);
      if (!suspect) this.#sectors.set(sector, { live, durable: live, suspect });
    }
    this.#unflushed.clear();
  }

  powerLoss(): void {
    for (const sector of this.#unflushed) {
      const { durable, suspect } = this.#at(sector);
      this.#sectors.set(sector, { live: durable, durable, suspect });
    }
  }

  /** The only good copy could not be synced. */
  suspect(sector: number): void {
    this.#lost.add(sector);
    const { live, durable } = this.#at(sector);
    const both = new Set([...live, ...durable]);
    this.#set(sector, { live: both, durable: both, suspect: true });
  }

  live(sector: number): ReadonlySet<number> {
    return this.#at(sector).live;
  }

  get suspects(): number[] {
    return [...this.#sectors.keys()].filter((sector) => this.isSuspect(sector));
  }

  isSuspect(sector: number): boolean {
    return this.#at(sector).suspect;
  }

  /** Another volume that holds what this one holds, on disk already. */
  copy(): Model {
    const copy = new Model();
    copy.become(this);
    return copy;
  }

  become(other: Model): void {
    this.#sectors.clear();
    this.#unflushed.clear();
    for (const [number, sector] of other.#sectors) this.#sectors.set(number, sector);
    for (const number of other.#unflushed) this.#unflushed.add(number);
  }

  #set(sector: number, what: Sector): void {
    this.#sectors.set(sector, what);
    this.#unflushed.add(sector);
  }

  #at(sector: number): Sector {
    return this.#sectors.get(sector) ?? NOTHING;
  }
}
