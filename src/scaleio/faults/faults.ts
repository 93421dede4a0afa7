import type { SystemState } from "../model.ts";
import { FaultBook, type FaultRequest } from "./fault-book.ts";
import type { FaultSpec } from "./fault-type.ts";
import { DEVICE_FAULTS, MDM_DOWN } from "./types.ts";

export interface FaultsOptions {
  readonly stateDir: string;
  readonly state: () => SystemState;
  /** Engines are to be told. */
  readonly changed: () => Promise<void>;
  /** A device or node has lost a fault and may be well again. */
  readonly revive: (target: string) => Promise<void>;
  /** Which MDM members are to be down, by name ("1" to "3"). */
  readonly mdmDown: (members: readonly string[]) => Promise<void>;
  /** A line for the event log. */
  readonly tell: (name: string, text: string) => void;
  readonly log: (message: string) => void;
}

/** What can be put where. */
export interface FaultKind {
  readonly type: string;
  readonly help: string;
  readonly attributes: Readonly<Record<string, { readonly help: string; readonly default: string }>>;
}

/** Faults on the running system: put there, listed, taken away. */
export class Faults {
  readonly book: FaultBook;
  readonly #options: FaultsOptions;

  constructor(options: FaultsOptions) {
    this.#options = options;
    this.book = new FaultBook(options.stateDir, options.log);
  }

  list(): readonly FaultSpec[] {
    return this.book.faults;
  }

  kinds(): FaultKind[] {
    const all = [...Object.entries(DEVICE_FAULTS), [MDM_DOWN.type, MDM_DOWN] as const];
    return all.map(([type, { help, attributes }]) => ({
      type,
      help,
      attributes: Object.fromEntries(
        Object.entries(attributes).map(([key, attribute]) => [
          key,
          { help: attribute.help, default: attribute.default },
        ]),
      ),
    }));
  }

  /** Throws invalid_argument, not_found, already_exists. */
  async add(request: FaultRequest): Promise<FaultSpec> {
    const fault = await this.book.add(request, this.#options.state());
    this.#options.tell("FAULT_INJECTED", `fault ${fault.name} (${fault.type}) is on ${fault.target}`);
    await this.apply();
    return fault;
  }

  /** Throws not_found. */
  async remove(name: string): Promise<void> {
    await this.#takeAway([await this.book.remove(name)]);
  }

  async reset(): Promise<void> {
    const all = [...this.book.faults];
    for (const { name } of all) await this.book.remove(name);
    await this.#takeAway(all);
  }

  /** Has the system behave as the book says: also at start. */
  async apply(): Promise<void> {
    const down = this.book.faults
      .filter(({ type }) => type === MDM_DOWN.type)
      .map(({ target }) => target.replace("mdm-", ""));
    await this.#options.mdmDown(down);
    await this.#options.changed();
  }

  async #takeAway(faults: readonly FaultSpec[]): Promise<void> {
    for (const { name, target } of faults) this.#options.tell("FAULT_REMOVED", `fault ${name} is off ${target}`);
    await this.apply();
    const targets = new Set(faults.filter(({ type }) => type !== MDM_DOWN.type).map(({ target }) => target));
    for (const target of targets) await this.#options.revive(target);
  }
}
