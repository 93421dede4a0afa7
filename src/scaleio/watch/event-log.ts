import fs from "node:fs";
import path from "node:path";
import { errnoOf } from "../../lib/errors.ts";
import type { EventSeverity, SystemEvent } from "../model.ts";

/** Events that are kept; the file is rewritten when it has twice as many. */
const KEPT = 2000;

/** Somebody who waits for events that come after the ones he has. */
interface Waiter {
  readonly after: number;
  readonly resolve: (events: readonly SystemEvent[]) => void;
}

/**
 * The MDM's event log (spec/scaleio.md 1.12): what happened, when, how bad it is. One JSON line an event; it is a story for
 * people, nothing depends on it, so it is not synced, and a line that cannot be read is left out.
 */
export class EventLog {
  readonly #file: string;
  #events: SystemEvent[];
  #lines: number;
  readonly #waiters = new Set<Waiter>();

  constructor(stateDir: string) {
    this.#file = path.join(stateDir, "events.log");
    this.#events = read(this.#file).slice(-KEPT);
    this.#lines = this.#events.length;
  }

  emit(name: string, severity: EventSeverity, text: string): void {
    const event: SystemEvent = {
      id: (this.#events.at(-1)?.id ?? 0) + 1,
      at: new Date().toISOString(),
      name,
      severity,
      text,
    };
    this.#events.push(event);
    this.#events = this.#events.slice(-KEPT);
    try {
      if (++this.#lines > 2 * KEPT) this.#rewrite();
      else fs.appendFileSync(this.#file, `${JSON.stringify(event)}\n`, { mode: 0o600 });
    } catch {
      // A full disk must not keep the cluster from going on.
    }
    for (const waiter of this.#waiters) waiter.resolve(this.after(waiter.after));
    this.#waiters.clear();
  }

  /** Events that came after the one with this id; 0: all that are kept. */
  after(id: number): readonly SystemEvent[] {
    return this.#events.filter((event) => event.id > id);
  }

  /** As {@link after}, but waits for the first one, at most so long. */
  async next(after: number, waitMs: number): Promise<readonly SystemEvent[]> {
    const there = this.after(after);
    if (there.length > 0 || waitMs <= 0) return there;
    return new Promise((resolve) => {
      const waiter: Waiter = {
        after,
        resolve: (events) => {
          clearTimeout(timer);
          resolve(events);
        },
      };
      const timer = setTimeout(() => {
        this.#waiters.delete(waiter);
        resolve([]);
      }, waitMs);
      this.#waiters.add(waiter);
    });
  }

  /** Lets those who wait go. */
  close(): void {
    for (const { resolve } of this.#waiters) resolve([]);
    this.#waiters.clear();
  }

  #rewrite(): void {
    const aside = `${this.#file}.new`;
    fs.writeFileSync(aside, this.#events.map((event) => `${JSON.stringify(event)}\n`).join(""), { mode: 0o600 });
    fs.renameSync(aside, this.#file);
    this.#lines = this.#events.length;
  }
}

function read(file: string): SystemEvent[] {
  let text: string;
  try {
    text = fs.readFileSync(file, "utf8");
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw error;
  }
  return text.split("\n").flatMap((line) => {
    try {
      const event = JSON.parse(line) as SystemEvent;
      return Number.isInteger(event.id) ? [event] : [];
    } catch {
      return [];
    }
  });
}
