import type { FaultFamily, FaultSpec } from "../../lib/fault.ts";
import { FaultBook, type FaultRequest } from "./fault-book.ts";
import type { FaultySystem, SystemFault } from "./system-fault.ts";
import { DEVICE_FAULTS, SYSTEM_FAULTS } from "./types.ts";

export interface FaultsOptions extends FaultySystem {
  readonly stateDir: string;
  /** A device or node has lost these faults and may be well again. */
  readonly revive: (target: string, removed: readonly FaultSpec[]) => Promise<void>;
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
  readonly #families: FaultFamily[];

  constructor(options: FaultsOptions) {
    this.#options = options;
    this.book = new FaultBook(options.stateDir, options.log);
    this.#families = [
      deviceFamily(options),
      ...Object.entries(SYSTEM_FAULTS).map(([type, kind]) => systemFamily(options, type, kind)),
    ];
  }

  /** Takes in the faults of another part of the system. */
  async join(family: FaultFamily): Promise<void> {
    this.#families.push(family);
    await family.apply(this.#of(family), []);
  }

  list(): readonly FaultSpec[] {
    return this.book.faults;
  }

  kinds(): FaultKind[] {
    const all = this.#families.flatMap(({ kinds }) => Object.entries(kinds));
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

  /** Throws invalid_argument, not_found, already_exists, and no_quorum where it is a change; then there is no fault. */
  async add(request: FaultRequest): Promise<FaultSpec> {
    const fault = await this.book.add(request, this.#families);
    this.#options.tell("FAULT_INJECTED", `fault ${fault.name} (${fault.type}) is on ${fault.target}`);
    try {
      await this.apply();
    } catch (error) {
      await this.remove(fault.name).catch(() => undefined);
      throw error;
    }
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

  /** Has the system behave as the book says: also at start. All that can be done is; throws what could not, the first of it. */
  async apply(removed: readonly FaultSpec[] = []): Promise<void> {
    const errors: unknown[] = [];
    // Devices last, after the MDM: one that is well again is written down, for which the MDM has to be there.
    for (const family of this.#families.toReversed())
      await family.apply(this.#of(family), removed.filter(isOf(family))).catch((error: unknown) => errors.push(error));
    if (errors.length > 0) throw errors[0];
  }

  async #takeAway(faults: readonly FaultSpec[]): Promise<void> {
    for (const { name, target } of faults) this.#options.tell("FAULT_REMOVED", `fault ${name} is off ${target}`);
    await this.apply(faults);
  }

  #of(family: FaultFamily): FaultSpec[] {
    return this.book.faults.filter(isOf(family));
  }
}

const isOf =
  ({ kinds }: FaultFamily) =>
  ({ type }: FaultSpec): boolean =>
    Object.hasOwn(kinds, type);

const deviceFamily = ({ state, changed, revive }: FaultsOptions): FaultFamily => ({
  kinds: DEVICE_FAULTS,
  targets: () => state().sds.flatMap((sds) => [sds.name, ...sds.devices.map((device) => `${sds.name}/${device.name}`)]),
  async apply(_faults, removed) {
    // Engines read the book.
    await changed();
    for (const target of new Set(removed.map((fault) => fault.target)))
      await revive(
        target,
        removed.filter((fault) => fault.target === target),
      );
  },
});

const systemFamily = (system: FaultySystem, type: string, kind: SystemFault): FaultFamily => ({
  kinds: { [type]: kind },
  targets: () => kind.targets(system),
  apply: (faults, removed) => kind.apply(system, faults, removed),
});
