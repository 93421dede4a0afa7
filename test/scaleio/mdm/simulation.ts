import { Mdm } from "../../../src/scaleio/mdm/mdm.ts";
import { lastOf, Member, type Position } from "../../../src/scaleio/mdm/member.ts";
import type { MemberFiles } from "../../../src/scaleio/mdm/member-files.ts";
import type { Change, VolumeRecord } from "../../../src/scaleio/model.ts";
import { randomOf } from "../../helpers/random.ts";
import { type Illness, SimulatedMembers } from "./simulated-members.ts";

const SYSTEM = "0123456789abcdef";
const MEMBERS = ["/mdm/1", "/mdm/2", "/mdm/3"];
const ILLNESSES: readonly Illness[] = ["full", "unreadable", "no-sync", "no-truncate"];

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

const NOWHERE: Position = { epoch: 0, index: 0 };
const newer = (a: Position, b: Position) => a.epoch > b.epoch || (a.epoch === b.epoch && a.index >= b.index);

/**
 * One seeded life of an MDM whose members are lost, rot, are torn, are put back, are full, cannot be reached, several of them at
 * once and not healed in between, and whose process is killed between any two file operations or loses power. Held against
 * what its callers were told: what was acknowledged is there, what was refused is not, what has been seen once stays (design.md,
 * invariant 7). Nothing is done that two copies cannot survive: of any two members that can be read, now or later, one
 * has all that was acknowledged, or there are no two. Throws at the first state that is wrong.
 */
export class Simulation {
  readonly #random: () => number;
  readonly #disk: SimulatedMembers;
  #mdm: Mdm | undefined;
  #number = 0;
  /** Volumes by number: whether it is there, as far as was said. */
  readonly #there = new Map<number, "yes" | "no" | "maybe">();
  /** Where the history was when something was acknowledged last. */
  #acknowledged: Position = NOWHERE;
  #founded: Position = NOWHERE;
  #copy: ReadonlyMap<string, Buffer> | undefined;
  readonly #down = new Set<string>();
  /** Members whose files something has happened to, and that have not been mended since. */
  readonly #damaged = new Set<string>();

  /** In every second life processes do not live long, and each finds another member away. */
  readonly #shortLived: boolean;

  constructor(readonly seed: number) {
    this.#shortLived = seed % 2 === 0;
    this.#random = randomOf(seed);
    this.#disk = new SimulatedMembers(this.#random);
  }

  async run(steps: number): Promise<void> {
    await this.#reopen({ calm: true });
    await this.#commit([founded]);
    this.#founded = this.#acknowledged;
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
    else if (dice < 0.6) this.#fallIll();
    else if (dice < 0.7) this.#disk.ill.delete(this.#pick(MEMBERS));
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
      for (const position of this.#ends()) if (newer(position, this.#acknowledged)) this.#acknowledged = position;
      return;
    }
    const { code } = answer.reason as { code?: string };
    if (code === "no_quorum") {
      if (number > 0) this.#there.set(number, before);
    } else if (code !== "in_doubt") throw answer.reason;
  }

  #fallIll(): void {
    this.#disk.ill.set(this.#pick(MEMBERS), this.#pick(ILLNESSES));
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
    if (this.#shortLived) {
      this.#disk.away.clear();
      this.#disk.away.add(this.#pick(MEMBERS));
      if (!this.#survivable()) this.#disk.away.clear();
    } else while (this.#random() < 0.4) this.#damage(this.#pick(MEMBERS));
    if (this.#random() < 0.1) this.#copy = this.#disk.copy(this.#pick(MEMBERS));
  }

  #damage(member: string): void {
    const before = this.#disk.copy(member);
    const dice = this.#random();
    if (dice < 0.35) {
      if (!this.#disk.away.delete(member)) this.#disk.away.add(member);
      if (!this.#survivable()) this.#disk.away.delete(member);
      return;
    }
    this.#damaged.add(member);
    if (dice < 0.5) this.#disk.lose(member);
    else if (dice < 0.7) this.#disk.rot(`${member}/${this.#random() < 0.7 ? "log" : "snapshot.json"}`);
    else if (dice < 0.85) this.#disk.tear(`${member}/log`, Math.floor(this.#random() * 1000));
    else if (this.#copy !== undefined) this.#disk.putBack(member, this.#copy);
    if (!this.#survivable()) this.#disk.putBack(member, before);
  }

  /**
   * Of any two members with files, one has everything that was acknowledged; and one at least has. Where no member at all can be
   * found, a new system is founded.
   */
  #survivable(): boolean {
    const ends = this.#ends();
    const whole = ends.filter((end) => newer(end, this.#acknowledged)).length;
    const found = this.#ends({ away: false }).filter((end) => newer(end, this.#founded)).length;
    return whole >= Math.max(1, ends.length - 1) && found > 0;
  }

  /** Where the histories end of those members that have one, as far as it is on disk. */
  #ends({ away = true } = {}): Position[] {
    return MEMBERS.filter((directory) => away || !this.#disk.away.has(directory)).flatMap(
      (directory) => this.#endOf(directory) ?? [],
    );
  }

  #endOf(directory: string): Position | undefined {
    try {
      const history = new Member(directory, this.#disk.platters as MemberFiles).read();
      return history && lastOf(history);
    } catch {
      return undefined;
    }
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
    const bad = new Set([...this.#disk.away, ...this.#disk.ill.keys(), ...this.#damaged]);
    if (this.#mdm?.isCurrent !== true && bad.size <= 1) throw new Error("two members are well, and do not suffice");
  }

  /** What may be there or not is from now on as it is. */
  #observe(): void {
    if (this.#mdm?.isCurrent !== true) return;
    for (const { name, state } of this.#mdm.members()) if (state === "normal") this.#damaged.delete(`/mdm/${name}`);
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
    this.#disk.away.clear();
    this.#disk.ill.clear();
    // Too few may be left: whoever knows that one of them has everything copies it.
    if (this.#ends().length < 2) {
      const whole = MEMBERS.find((member) => newer(this.#endOf(member) ?? NOWHERE, this.#acknowledged));
      for (const member of MEMBERS)
        if (whole !== undefined && member !== whole) this.#disk.putBack(member, this.#disk.copy(whole));
    }
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
    return from[Math.floor(this.#random() * from.length)] as T;
  }
}

const numberOf = (id: string) => Number.parseInt(id.slice(8), 16);
