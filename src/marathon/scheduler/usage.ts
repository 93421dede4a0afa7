/** What an instance takes on its agent. */
export interface Usage {
  readonly agent: string;
  readonly ports: readonly number[];
  readonly cpus: number;
  readonly mem: number;
  readonly disk: number;
}

const RESOURCES = ["cpus", "mem", "disk"] as const;

interface Sums extends Record<(typeof RESOURCES)[number], number> {
  /** How often each is used. */
  readonly ports: Map<number, number>;
}

/** Sums of 0.1 would drift. */
const THOUSANDTHS = 1000;

/** What is taken on each agent: sums that follow every instance, so that an offer costs the same however many there are. */
export class Usages {
  readonly #byTask = new Map<string, Usage>();
  readonly #byAgent = new Map<string, Sums>();

  /** @param usage undefined: the task takes nothing any more */
  set(taskId: string, usage: Usage | undefined): void {
    const before = this.#byTask.get(taskId);
    if (before !== undefined) this.#add(before, -1);
    this.#byTask.delete(taskId);
    if (usage === undefined) return;
    this.#byTask.set(taskId, usage);
    this.#add(usage, 1);
  }

  on(agent: string): {
    readonly cpus: number;
    readonly mem: number;
    readonly disk: number;
    ports: ReadonlySet<number>;
  } {
    const { ports, ...sums } = this.#sums(agent);
    return {
      ports: new Set(ports.keys()),
      cpus: sums.cpus / THOUSANDTHS,
      mem: sums.mem / THOUSANDTHS,
      disk: sums.disk / THOUSANDTHS,
    };
  }

  #add(usage: Usage, sign: 1 | -1): void {
    const sums = this.#sums(usage.agent);
    for (const key of RESOURCES) sums[key] += sign * Math.round(usage[key] * THOUSANDTHS);
    for (const port of usage.ports) {
      const uses = (sums.ports.get(port) ?? 0) + sign;
      if (uses > 0) sums.ports.set(port, uses);
      else sums.ports.delete(port);
    }
  }

  #sums(agent: string): Sums {
    const known = this.#byAgent.get(agent) ?? { cpus: 0, mem: 0, disk: 0, ports: new Map() };
    this.#byAgent.set(agent, known);
    return known;
  }
}
