import { Mdm } from "../../../src/scaleio/mdm/mdm.ts";
import type { Change, VolumeRecord } from "../../../src/scaleio/model.ts";
import { randomOf } from "../../helpers/random.ts";
import { MEMBERS, MemberHarm } from "./member-harm.ts";
import { SimulatedMembers } from "./simulated-members.ts";

const SYSTEM = "0123456789abcdef";

export const founded: Change = {
  type: "system-created",
  systemId: SYSTEM,
  lastId: 1,
  pool: { id: "p", name: "pool1", protectionDomain: "pd1", sparePercent: 10, mapVersion: 1, deviceIds: [], groups: [] },
  sds: [],
};

export const volume = (number: number): VolumeRecord => ({
  id: SYSTEM.slice(0, 8) + number.toString(16).padStart(8, "0"),
  name: `v${number}`,
  poolId: "p",
  sizeBytes: 1024 ** 3,
  createdAt: "2026-01-01T00:00:00Z",
  fsType: "ext4",
  iops: 0,
  firstGroup: 0,
  mappedTo: null,
});

export const create = (number: number): Change => ({ type: "volume-created", volume: volume(number) });

/**
 * One seeded life of an MDM whose members are lost, rot, are torn, are put back, are full, cannot be reached, several of them at
 * once and not healed in between, and whose process is killed between any two file operations or loses power. Held against
 * what its callers were told: what was acknowledged is there, what was refused is not, what has been seen once stays (design.md,
 * invariant 7). Nothing is done that two copies cannot survive (member-harm.ts). Throws at the first state that is wrong.
 */
export class Simulation {
  readonly #random: () => number;
  readonly #disk: SimulatedMembers;
  readonly #harm: MemberHarm;
  #mdm: Mdm | undefined;
  #number = 0;
  /** Volumes by number: whether it is there, as far as was said. */
  readonly #there = new Map<number, "yes" | "no" | "maybe">();
  readonly #down = new Set<string>();

  /** In every second life processes do not live long, and each finds another member away. */
  readonly #shortLived: boolean;

  constructor(readonly seed: number) {
    this.#shortLived = seed % 2 === 0;
    this.#random = randomOf(seed);
    this.#disk = new SimulatedMembers(this.#random);
    this.#harm = new MemberHarm(this.#disk, this.#random);
  }

  async run(steps: number): Promise<void> {
    await this.#reopen({ calm: true });
    await this.#commit([founded]);
    for (let step = 0; step < steps; step++) {
      this.#mayBeKilled();
      await this.#step();
      this.#disk.killAfter = undefined;
      if (this.#disk.dead) await this.#restart();
      this.#check();
    }
    await this.#finish();
  }

  async #step(): Promise<void> {
    const dice = this.#shortLived ? this.#pick([0, 1]) : this.#random();
    if (dice < 0.45) {
      const changes = Array.from({ length: 1 + Math.floor(this.#random() ** 2 * 5) }, () => create(++this.#number));
      await this.#commit(changes);
    } else if (dice < 0.5) await this.#remove();
    else if (dice < 0.6) this.#harm.fallIll();
    else if (dice < 0.7) this.#harm.recover();
    else if (dice < 0.75) await this.#takeDown();
    else if (dice < 0.85) await this.#mdm?.repair().catch(() => undefined);
    else await this.#restart();
  }

  #mayBeKilled(): void {
    if (this.#random() < (this.#shortLived ? 0.5 : 0.15))
      this.#disk.killAfter = Math.floor(this.#random() * (this.#shortLived ? 9 : 25));
  }

  async #commit(changes: readonly Change[]): Promise<void> {
    const mdm = this.#mdm;
    if (mdm === undefined) return;
    const numbers = changes.map((change) => (change.type === "volume-created" ? numberOf(change.volume.id) : 0));
    for (const number of numbers) if (number > 0) this.#there.set(number, "maybe");
    const answers = await Promise.allSettled(changes.map((change) => mdm.commit(change)));
    // An answer of a process that has been killed reaches nobody.
    if (this.#disk.dead) return;
    for (const [i, answer] of answers.entries()) this.#heard(numbers[i] as number, "yes", "no", answer);
  }

  async #remove(): Promise<void> {
    const there = [...this.#there].filter(([, state]) => state === "yes").map(([number]) => number);
    if (this.#mdm === undefined || there.length === 0) return;
    const number = this.#pick(there);
    this.#there.set(number, "maybe");
    const [answer] = await Promise.allSettled([this.#mdm.commit({ type: "volume-removed", id: volume(number).id })]);
    if (!this.#disk.dead) this.#heard(number, "no", "yes", answer);
  }

  #heard(number: number, done: "yes" | "no", before: "yes" | "no", answer: PromiseSettledResult<void>): void {
    if (answer.status === "fulfilled") {
      if (number > 0) this.#there.set(number, done);
      // What was in doubt is decided.
      this.#observe();
      this.#harm.acknowledged();
      return;
    }
    const { code } = answer.reason as { code?: string };
    if (code === "no_quorum") {
      if (number > 0) this.#there.set(number, before);
    } else if (code !== "in_doubt") throw answer.reason;
  }

  async #takeDown(): Promise<void> {
    const member = this.#pick(["1", "2", "3"]);
    if (!this.#down.delete(member)) this.#down.add(member);
    await this.#mdm?.takeDown([...this.#down]).catch(() => undefined);
  }

  /** The process ends, by itself or killed; another one starts. */
  async #restart(): Promise<void> {
    if (!this.#disk.dead && this.#random() < 0.3) await this.#mdm?.close();
    this.#mdm = undefined;
    this.#between();
    await this.#reopen();
  }

  /** No process runs: the machine may lose power, and things happen to members. */
  #between(): void {
    if (this.#random() < 0.4) this.#disk.powerLoss();
    else this.#disk.crash();
    if (this.#shortLived) this.#harm.awayIs(this.#pick(MEMBERS));
    else this.#harm.damageSome();
    this.#harm.mayCopy();
  }

  /** Starts until it is not killed on the way. `calm`: at once. */
  async #reopen({ calm = false } = {}): Promise<void> {
    this.#down.clear();
    for (;;) {
      if (!calm) this.#mayBeKilled();
      try {
        this.#mdm = await Mdm.open(MEMBERS, { log: () => undefined, files: this.#disk });
      } catch (error) {
        this.#mdm = undefined;
        if (!this.#disk.dead && (error as { code?: string }).code !== "state_corrupt") throw error;
      }
      this.#disk.killAfter = undefined;
      if (!this.#disk.dead) break;
      this.#between();
    }
    this.#observe();
    if (this.#mdm?.isCurrent !== true && this.#harm.mustSuffice)
      throw new Error("two members are well, and do not suffice");
  }

  /** What may be there or not is from now on as it is. */
  #observe(): void {
    if (this.#mdm?.isCurrent !== true) return;
    for (const { name, state } of this.#mdm.members()) if (state === "normal") this.#harm.isWell(`/mdm/${name}`);
    for (const [number, state] of this.#there)
      if (state === "maybe") this.#there.set(number, this.#has(number) ? "yes" : "no");
  }

  #check(): void {
    if (this.#mdm?.isCurrent !== true) return;
    for (const [number, state] of this.#there) {
      if (state === "yes" && !this.#has(number)) throw new Error(`v${number} was acknowledged and is missing`);
      if (state === "no" && this.#has(number)) throw new Error(`v${number} was refused or removed, and is there`);
    }
  }

  #has(number: number): boolean {
    return this.#mdm?.state.volumes.has(volume(number).id) ?? false;
  }

  /** All is healed: changes are made again, by this process and by the next one. */
  async #finish(): Promise<void> {
    this.#harm.healAll();
    for (const end of ["now", "after a start"]) {
      await this.#mdm?.takeDown([]);
      if (this.#mdm === undefined || end !== "now") await this.#reopen({ calm: true });
      this.#check();
      const number = ++this.#number;
      await this.#commit([create(number)]);
      if (this.#there.get(number) !== "yes") throw new Error(`${end}: all is well, and changes are refused`);
      if (this.#mdm?.members().some(({ state }) => state !== "normal"))
        throw new Error(`${end}: a member is not mended`);
    }
  }

  #pick<T>(from: readonly T[]): T {
    return this.#harm.pick(from);
  }
}

const numberOf = (id: string) => Number.parseInt(id.slice(8), 16);
