import type { Deployment } from "./deployment.ts";

/** What an event of a deployment is about. */
export type Plan = Pick<Deployment, "id" | "steps" | "version" | "before">;

/** An event of Marathon's stream (spec/marathon.md 6.6). */
export interface MarathonEvent {
  readonly eventType: string;
  readonly timestamp: string;
  readonly plan?: Plan;
  readonly [field: string]: unknown;
}

type Listener = (event: MarathonEvent) => void;

/** Tells all who listen. */
export class Events {
  readonly #listeners = new Set<Listener>();

  /** Answers how to stop listening. */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  emit(eventType: string, fields: Readonly<Record<string, unknown>>): void {
    const event = { ...fields, eventType, timestamp: new Date().toISOString() };
    for (const listener of this.#listeners) listener(event);
  }
}
