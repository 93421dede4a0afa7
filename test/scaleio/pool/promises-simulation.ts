import { SimError } from "../../../src/lib/errors.ts";
import type { SystemState, VolumeRecord } from "../../../src/scaleio/model.ts";
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
  readonly #usable: number;
  readonly #state: SystemState;
  readonly #promises: Promises;
  #used = 0;
  #number = 0;

  constructor(readonly seed: number) {
    this.#random = randomOf(seed);
    const capacityBytes = (40 + Math.floor(this.#random() * 100)) * GIB;
    const sds = [1, 2, 3].map((n) => ({ name: `sds-${n}`, devices: [{ capacityBytes }] }));
    // A tenth is spare.
    this.#usable = 3 * capacityBytes - Math.floor((3 * capacityBytes * 0.1) / 1024 ** 2) * 1024 ** 2;
    this.#state = { volumes: this.#volumes, sds, pool: { name: "p", sparePercent: 10 } } as unknown as SystemState;
    this.#promises = new Promises({
      state: () => this.#state,
      usedBytes: () => this.#used,
      granularityBytes: GRANULARITY,
    });
  }

  async run(steps: number): Promise<void> {
    for (let step = 0; step < steps; step++) {
      if (this.#random() < 0.1) this.#fill();
      const calls = Array.from({ length: 1 + Math.floor(this.#random() * 3) }, () => this.#step());
      await Promise.all(calls);
      this.#check();
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

  /** Volumes are written to, or discarded. What was set aside for thick ones is theirs: they are gone by then. */
  #fill(): void {
    this.#used = Math.floor(this.#random() * this.#usable);
    for (const { id, thick } of [...this.#volumes.values()]) if (thick === true) this.#volumes.delete(id);
  }

  async #promise(id: string, before: VolumeRecord | undefined, thick: boolean): Promise<void> {
    const sizeBytes = GRANULARITY * (1 + Math.floor(this.#random() ** 3 * 40));
    const critical = this.#used >= 0.9 * this.#usable;
    try {
      await this.#promises.during({ sizeBytes, thick }, async () => {
        if (critical) throw new Error("something is promised by a pool that is 90 % full");
        for (let turns = this.#random() * 5; turns > 0; turns--) await undefined;
        if (this.#random() < 0.2) throw new SimError("no_quorum", "simulated");
        const now = this.#volumes.get(id);
        // One that is to grow may have been removed.
        if (before !== undefined && now === undefined) return;
        this.#volumes.set(id, { ...now, id, thick, sizeBytes: (now?.sizeBytes ?? 0) + sizeBytes } as VolumeRecord);
      });
    } catch (error) {
      if (!(error instanceof SimError)) throw error;
    }
  }

  #check(): void {
    const sum = (some: readonly VolumeRecord[]) => some.reduce((bytes, { sizeBytes }) => bytes + sizeBytes, 0);
    const all = [...this.#volumes.values()];
    if (sum(all) > (5 * this.#usable) / 2) throw new Error("more is promised than five times what there is");
    const setAside = sum(all.filter(({ thick }) => thick === true));
    if (setAside > 0 && setAside > (this.#usable - this.#used) / 2) throw new Error("more is set aside than there is");
  }
}
