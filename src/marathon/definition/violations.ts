import { TEXTS } from "./texts.ts";

/** What is wrong with a definition: paths as Marathon writes them (`/container/volumes(0)/mode`), each with its messages. */
export class Violations {
  readonly #byPath = new Map<string, string[]>();

  add(path: string, message: string): void {
    const key = path === "" ? "/" : path;
    this.#byPath.set(key, [...(this.#byPath.get(key) ?? []), message]);
  }

  get none(): boolean {
    return this.#byPath.size === 0;
  }

  /** As in the body of an answer. */
  details(): { path: string; errors: string[] }[] {
    return [...this.#byPath].map(([path, errors]) => ({ path, errors }));
  }

  /** Takes over what others found. */
  addAll(other: Violations): void {
    for (const { path, errors } of other.details()) for (const error of errors) this.add(path, error);
  }
}

/** An answer that is an error in Marathon's own form (spec/marathon.md 2, 6.1). */
export class MarathonError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly more: Readonly<Record<string, unknown>> = {},
  ) {
    super(message);
  }

  get body(): Record<string, unknown> {
    return { message: this.message, ...this.more };
  }
}

/** 422; stage 2 finds shapes that are wrong, the later ones rules that are broken. Throws when there is something. */
export function refuse(violations: Violations, stage: "shape" | "rules"): void {
  if (violations.none) return;
  const message = stage === "shape" ? TEXTS.shape.message : TEXTS.app.message;
  throw new MarathonError(422, message, { details: violations.details() });
}
