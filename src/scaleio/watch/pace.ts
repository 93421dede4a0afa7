/** Progress is told from what has been done in this time. */
const WINDOW_MS = 10_000;

/** Measures how fast something comes to its end. */
export class Pace {
  #samples: { readonly at: number; readonly left: number }[] = [];

  /** At this time (ms) so much was left. More than before is a new piece of work. */
  note(at: number, left: number): void {
    if (left === 0 || left > (this.#samples.at(-1)?.left ?? 0)) this.#samples = [];
    if (left > 0) this.#samples = [...this.#samples, { at, left }].filter((sample) => at - sample.at <= WINDOW_MS);
  }

  /** Until so much more has been done; null when there is nothing to do or no pace is known yet. */
  secondsLeft(left: number): number | null {
    const [first] = this.#samples;
    const last = this.#samples.at(-1);
    if (left === 0 || first === undefined || last === undefined || first.left <= last.left) return null;
    return Math.ceil((left * (last.at - first.at)) / (first.left - last.left) / 1000);
  }
}
