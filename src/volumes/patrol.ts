/** How often there is another look. */
const EVERY_MS = 2_000;

/** Names that have to be looked at again and again until each is settled. Keeps no process alive. */
export class Patrol {
  readonly #look: (name: string) => Promise<void>;
  readonly #names = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #walking = false;

  /** @param look must not throw, and removes the name when it is settled */
  constructor(look: (name: string) => Promise<void>) {
    this.#look = look;
  }

  has(name: string): boolean {
    return this.#names.has(name);
  }

  add(name: string): void {
    this.#names.add(name);
    this.#timer ??= setInterval(() => void this.#walk(), EVERY_MS).unref();
  }

  delete(name: string): void {
    this.#names.delete(name);
    if (this.#names.size === 0) this.stop();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  async #walk(): Promise<void> {
    // A volume whose look takes long must not have many waiting behind it.
    if (this.#walking) return;
    this.#walking = true;
    await Promise.all([...this.#names].map((name) => this.#look(name)));
    this.#walking = false;
  }
}
