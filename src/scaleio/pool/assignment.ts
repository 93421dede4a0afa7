/** What items are put into. */
export interface Bin {
  /** How many more items it takes. */
  room: number;
  /** Of those that have room the one with most of it in proportion to this is taken. */
  readonly weight: number;
}

/**
 * Gives each item one of the bins that it may be in, and no bin more than it has room for. An item that finds its bins full has
 * others make way for it, if they can go elsewhere (augmenting paths): as many items as can be have a bin in the end.
 */
export class Assignment<Item, Key> {
  readonly #bins: ReadonlyMap<Key, Bin>;
  readonly #keysOf: (item: Item) => readonly Key[];
  readonly #inside = new Map<Key, Set<Item>>();
  readonly #keys = new Map<Item, Key>();

  /** @param keysOf where an item may be; of equally good ones the first is taken */
  constructor(bins: ReadonlyMap<Key, Bin>, keysOf: (item: Item) => readonly Key[]) {
    this.#bins = bins;
    this.#keysOf = keysOf;
  }

  /** The item's bin. */
  of(item: Item): Key | undefined {
    return this.#keys.get(item);
  }

  /** Puts the item into this bin, if there is room. */
  prefer(item: Item, key: Key): void {
    if (this.#share(key) > 0) this.#put(item, key);
  }

  /** False when there is no bin for it, whatever the others do. */
  place(item: Item, tried: Set<Key> = new Set()): boolean {
    const keys = this.#keysOf(item);
    let free: Key | undefined;
    for (const key of keys)
      if (this.#share(key) > 0 && (free === undefined || this.#share(key) > this.#share(free))) free = key;
    if (free !== undefined) {
      this.#put(item, free);
      return true;
    }
    for (const key of keys) {
      if (tried.has(key)) continue;
      tried.add(key);
      for (const other of this.#inside.get(key) ?? []) {
        if (!this.place(other, tried)) continue;
        this.#put(item, key);
        return true;
      }
    }
    return false;
  }

  #share(key: Key): number {
    const bin = this.#bins.get(key);
    return bin === undefined ? 0 : bin.room / bin.weight;
  }

  #put(item: Item, key: Key): void {
    const before = this.#keys.get(item);
    if (before !== undefined) {
      this.#inside.get(before)?.delete(item);
      (this.#bins.get(before) as Bin).room++;
    }
    this.#inside.set(key, (this.#inside.get(key) ?? new Set()).add(item));
    (this.#bins.get(key) as Bin).room--;
    this.#keys.set(item, key);
  }
}
