import { SimError } from "../../../src/lib/errors.ts";
import type { SystemState, VolumeRecord } from "../../../src/scaleio/model.ts";
import type { CapacityRequest } from "../../../src/scaleio/pool/capacity.ts";
import { Promises } from "../../../src/scaleio/promises.ts";
import { randomOf } from "../../helpers/random.ts";

const GIB = 1024 ** 3;
const GRANULARITY = 8 * GIB;

/**
 * One seeded life of a pool: volumes, thin and thick, are created, grow, are filled and removed, several at once, and some of what is
 * begun comes to nothing. Never is more promised than the policy allows (spec/scaleio.md 1.4, by its own arithmetic). Throws at the
 * first promise too many.
 */
export class Simulation {
  readonly #random: () => number;
  readonly #volumes = new Map<string, VolumeRecord>();
  /** All can be held twice; a tenth of it is spare. */
  readonly #raw: number;
  readonly #usable: number;
  readonly #state: SystemState;
  readonly #promises: Promises;
  /** By thin volumes, both copies. */
  #written = 0;
  /** What is being promised at this moment. */
  readonly #begun = new Set<CapacityRequest>();
  #number = 0;

  constructor(readonly seed: number) {
    this.#random = randomOf(seed);
    const capacityBytes = (40 + Math.floor(this.#random() * 100)) * GIB;
    const sds = [1, 2, 3].map((n) => ({ name: `sds-${n}`, faultSet: `sds-${n}`, devices: [{ capacityBytes }] }));
    this.#raw = 3 * capacityBytes;
    this.#usable = this.#raw - Math.floor((this.#raw * 0.1) / 1024 ** 2) * 1024 ** 2;
    this.#state = { volumes: this.#volumes, sds, pool: { name: "p", sparePercent: 10 } } as unknown as SystemState;
    this.#promises = new Promises({
      state: () => this.#state,
      thinBytes: async () => this.#written,
      granularityBytes: GRANULARITY,
    });
  }

  async run(steps: number): Promise<void> {
    for (let step = 0; step < steps; step++) {
      if (this.#random() < 0.1) this.#fill();
      const calls = Array.from({ length: 1 + Math.floor(this.#random() * 3) }, () => this.#step());
      await Promise.all(calls);
    }
  }

  async #step(): Promise<void> {
    const dice = this.#random();
    const [volume] = [...this.#volumes.values()].toSorted(() => this.#random() - 0.5);
    if (dice < 0.6) await this.#promise(`v${++this.#number}`, undefined, this.#random() < 0.3);
    else if (volume === undefined) return;
    else if (dice < 0.8) await this.#promise(volume.id, volume, volume.thick === true);
    else this.#volumes.delete(volume.id);
  }

  /** Thin volumes are written to, or discarded. */
  #fill(): void {
    this.#written = Math.floor(this.#random() * this.#usable);
  }

  async #promise(id: string, before: VolumeRecord | undefined, thick: boolean): Promise<void> {
    const sizeBytes = GRANULARITY * (1 + Math.floor(this.#random() ** 3 * 40));
    const request = thick ? { thick: sizeBytes } : { thin: sizeBytes };
    try {
      await this.#promises.during(request, async () => {
        this.#judge(request);
        this.#begun.add(request);
        try {
          for (let turns = this.#random() * 5; turns > 0; turns--) await undefined;
          if (this.#random() < 0.2) throw new SimError("no_quorum", "simulated");
          const now = this.#volumes.get(id);
          // One that is to grow may have been removed.
          if (before !== undefined && now === undefined) return;
          this.#volumes.set(id, { ...now, id, thick, sizeBytes: (now?.sizeBytes ?? 0) + sizeBytes } as VolumeRecord);
        } finally {
          this.#begun.delete(request);
        }
      });
    } catch (error) {
      if (!(error instanceof SimError)) throw error;
    }
  }

  /** By what there is and what is begun: may so much be promised besides? */
  #judge({ thin = 0, thick = 0 }: CapacityRequest): void {
    const sum = (amounts: readonly number[]) => amounts.reduce((bytes, amount) => bytes + amount, 0);
    const all = [...this.#volumes.values()];
    const begun = [...this.#begun];
    const setAside = sum([
      ...all.map((volume) => (volume.thick === true ? volume.sizeBytes : 0)),
      ...begun.map((other) => other.thick ?? 0),
    ]);
    const promised = sum([
      ...all.map((volume) => (volume.thick === true ? 0 : volume.sizeBytes)),
      ...begun.map((other) => other.thin ?? 0),
    ]);
    const inUse = this.#written + 2 * setAside;
    if (thin > 0 && inUse >= 0.9 * this.#usable)
      throw new Error("something thin is promised by a pool that is 90 % full");
    if (thin > 0 && 2 * (promised + thin) > 5 * (this.#raw - inUse))
      throw new Error("more is promised than five times what is not in use");
    if (thick > 0 && inUse + 2 * thick > this.#usable) throw new Error("more is set aside than there is");
  }
}
