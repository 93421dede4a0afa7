/** Longer than an engine ever takes from the answer to its Mount until the container holds the file system. */
const GAP_MS = 120_000;

/**
 * When volumes were given to container engines, and when an engine began a new life. A mount id is remembered for a
 * container that may be gone, or may not be there yet: time is all there is to tell the two apart.
 */
export class EngineLife {
  readonly #now: () => number;
  readonly #given = new Map<string, number>();
  readonly #opened: number;
  #began = 0;

  constructor(now: () => number) {
    this.#now = now;
    this.#opened = now();
  }

  gave(name: string): void {
    this.#given.set(name, this.#now());
  }

  restarted(): void {
    this.#began = this.#now();
  }

  /** Whether a container may still be on its way to the volume. What was given before this process began is not known. */
  justGiven(name: string): boolean {
    return this.#now() - (this.#given.get(name) ?? this.#opened) < GAP_MS;
  }

  /** Whether this process has given it away since the engine last began. */
  givenInThisLife(name: string): boolean {
    const given = this.#given.get(name);
    return given !== undefined && given > this.#began;
  }
}
