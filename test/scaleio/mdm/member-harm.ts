import { lastOf, Member, type Position } from "../../../src/scaleio/mdm/member.ts";
import type { MemberFiles } from "../../../src/scaleio/mdm/member-files.ts";
import type { Random } from "../../helpers/random.ts";
import type { Illness, SimulatedMembers } from "./simulated-members.ts";

export const MEMBERS = ["/mdm/1", "/mdm/2", "/mdm/3"];
const ILLNESSES: readonly Illness[] = ["full", "unreadable", "no-sync", "no-truncate"];

const NOWHERE: Position = { epoch: 0, index: 0 };
const newer = (a: Position, b: Position) => a.epoch > b.epoch || (a.epoch === b.epoch && a.index >= b.index);

/**
 * What happens to the members of an MDM, within what two copies can survive: of any two members that can be read, now or later,
 * one has all that was acknowledged, or there are no two.
 */
export class MemberHarm {
  readonly #disk: SimulatedMembers;
  readonly #random: Random;
  /** Where the history was when something was acknowledged last, and when it began. */
  #acknowledged = NOWHERE;
  #founded = NOWHERE;
  #copy: ReadonlyMap<string, Buffer> | undefined;
  /** Members whose files something has happened to, and that have not been mended since. */
  readonly #damaged = new Set<string>();

  constructor(disk: SimulatedMembers, random: Random) {
    this.#disk = disk;
    this.#random = random;
  }

  /** A change has been acknowledged. Throws when a single loss would take it. */
  acknowledged(): void {
    const ends = this.#ends();
    for (const end of ends) if (newer(end, this.#acknowledged)) this.#acknowledged = end;
    if (this.#founded === NOWHERE) this.#founded = this.#acknowledged;
    if (ends.filter((end) => newer(end, this.#acknowledged)).length < 2)
      throw new Error("a change was acknowledged, and is on fewer than two members");
  }

  /** The member has been seen to be well. */
  isWell(member: string): void {
    this.#damaged.delete(member);
  }

  /** Whether at most one member has anything the matter with it. */
  get mustSuffice(): boolean {
    return new Set([...this.#disk.away, ...this.#disk.ill.keys(), ...this.#damaged]).size <= 1;
  }

  fallIll(): void {
    this.#disk.ill.set(this.pick(MEMBERS), this.pick(ILLNESSES));
  }

  recover(): void {
    this.#disk.ill.delete(this.pick(MEMBERS));
  }

  /** A member's files are not to be found for a while, or are again. */
  comeOrGo(member = this.pick(MEMBERS)): void {
    if (!this.#disk.away.delete(member)) this.#disk.away.add(member);
    if (!this.#survivable()) this.#disk.away.delete(member);
  }

  /** Only this one is away. */
  awayIs(member: string): void {
    this.#disk.away.clear();
    this.#disk.away.add(member);
    if (!this.#survivable()) this.#disk.away.clear();
  }

  /** While no process runs: things happen to the files of members, to some more than once. */
  damageSome(): void {
    while (this.#random() < 0.4) this.#damage(this.pick(MEMBERS));
  }

  /** Somebody copies a member's directory, to put it back some day. */
  mayCopy(): void {
    if (this.#random() < 0.1) this.#copy = this.#disk.copy(this.pick(MEMBERS));
  }

  #damage(member: string): void {
    const before = this.#disk.copy(member);
    const dice = this.#random();
    if (dice < 0.35) {
      this.comeOrGo(member);
      return;
    }
    this.#damaged.add(member);
    if (dice < 0.5) this.#disk.lose(member);
    else if (dice < 0.7) this.#disk.rot(`${member}/${this.#random() < 0.7 ? "log" : "snapshot.json"}`);
    else if (dice < 0.85) this.#disk.tear(`${member}/log`, Math.floor(this.#random() * 1000));
    else if (this.#copy !== undefined) this.#disk.putBack(member, this.#copy);
    if (!this.#survivable()) this.#disk.putBack(member, before);
  }

  /** All is healed. Too few members may be left: whoever knows that one of them has everything copies it. */
  healAll(): void {
    this.#disk.away.clear();
    this.#disk.ill.clear();
    if (this.#ends().length >= 2) return;
    const whole = MEMBERS.find((member) => newer(this.#endOf(member) ?? NOWHERE, this.#acknowledged));
    for (const member of MEMBERS)
      if (whole !== undefined && member !== whole) this.#disk.putBack(member, this.#disk.copy(whole));
  }

  pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.#random() * from.length)] as T;
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
}
