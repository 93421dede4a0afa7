import { apply, emptyTables, type Tables } from "../../../../src/scaleio/mdm/apply.ts";
import { Mdm } from "../../../../src/scaleio/mdm/mdm.ts";
import type { Change, SystemState } from "../../../../src/scaleio/model.ts";
import type { Random } from "../../../helpers/random.ts";
import { MEMBERS, MemberHarm } from "../../mdm/member-harm.ts";
import { SimulatedMembers } from "../../mdm/simulated-members.ts";
import { Refused } from "./disk.ts";

/** What follows from a change, at once or when a later daemon finds it made; and what from a change that was not made. */
interface Consequences {
  readonly done?: () => void;
  readonly undone?: () => void;
}

/**
 * The MDM, with the daemon's process that has it: the real one, over members that are lost and come back, and a process that is
 * killed between any two operations on their files. Knows what was acknowledged: each process finds that, or that and the one
 * change of which nobody has heard what became of it (design.md, invariant 7). Throws at the first state that is another one.
 */
export class SimulatedMdm {
  readonly #random: Random;
  readonly #members: SimulatedMembers;
  readonly harm: MemberHarm;
  #process: Mdm | undefined;
  /** Whether the process has a state that may be acted by, and it has been looked at. */
  #acts = false;
  /** What the last process that could act knew. */
  #state: SystemState = emptyTables();
  #acknowledged = printOf(this.#state);
  #doubt: (Consequences & { readonly made: string }) | undefined;
  /** The daemon has started anew, and has not told anybody yet. */
  isNew = false;
  /** Nothing happens to the process or the members. */
  calm = true;

  constructor(
    random: Random,
    /** Told of what goes wrong. */
    readonly trace: (line: string) => void,
  ) {
    this.#random = random;
    this.#members = new SimulatedMembers(random);
    this.harm = new MemberHarm(this.#members, random);
  }

  /** All that was acknowledged, and nothing else. */
  get state(): SystemState {
    return this.#state;
  }

  /** Whether there is a daemon that may act. */
  get acts(): boolean {
    return this.#acts;
  }

  async found(change: Change): Promise<void> {
    this.#process = await this.#open();
    this.#state = (this.#process as Mdm).state;
    this.#acts = true;
    await this.commit(change);
  }

  /** The daemon starts, if there is none, or looks after the members. Whether it may act. */
  async attend(): Promise<boolean> {
    this.#mayBeKilled();
    if (this.#process !== undefined) await this.#process.repair().catch(() => undefined);
    else {
      if (!this.calm) this.harm.damageSome();
      this.harm.mayCopy();
      this.#process = await this.#open();
      if (!this.#members.dead && this.#process?.isCurrent !== true && this.harm.mustSuffice)
        throw new Error("two members are well, and do not suffice");
    }
    this.#members.killAfter = undefined;
    if (this.#members.dead) this.die();
    if (this.#process?.isCurrent !== true) return false;
    if (!this.#acts) this.#takeUp(this.#process);
    for (const { name, state } of this.#process.members()) if (state === "normal") this.harm.isWell(`/mdm/${name}`);
    return true;
  }

  /** Throws Refused when the change has not been made, and when nobody knows: then the daemon is dead. */
  async commit(change: Change, { done = () => undefined, undone = () => undefined }: Consequences = {}): Promise<void> {
    if (this.#process === undefined) throw new Error("no daemon");
    const tables = structuredClone(this.#state) as Tables;
    apply(tables, change);
    const made = printOf(tables);
    this.#mayBeKilled();
    const [answer] = await Promise.allSettled([this.#process.commit(change)]);
    this.#members.killAfter = undefined;
    // An answer of a process that has been killed reaches nobody.
    const code = this.#members.dead ? "in_doubt" : answer.status === "rejected" ? answer.reason.code : "";
    if (code === "") {
      this.#acknowledged = made;
      this.check();
      this.harm.acknowledged();
      done();
      return;
    }
    this.trace(`  ${change.type}: ${code}`);
    if (code === "in_doubt") {
      this.#doubt = { made, done, undone };
      this.die();
    } else if (code === "no_quorum") {
      this.check();
      undone();
    } else throw (answer as PromiseRejectedResult).reason;
    throw new Refused();
  }

  /** The daemon dies; its machine may go on. */
  die({ power = false } = {}): void {
    this.trace("  the daemon dies");
    this.#process = undefined;
    this.#acts = false;
    if (power) this.#members.powerLoss();
    else this.#members.crash();
  }

  /** Members that are down on purpose, as long as this daemon lives. */
  async takeDown(names: readonly string[]): Promise<void> {
    await this.#process?.takeDown(names).catch(() => undefined);
  }

  async healAll(): Promise<void> {
    this.harm.healAll();
    await this.takeDown([]);
  }

  check(): void {
    if (this.#acts && printOf(this.#state) !== this.#acknowledged) throw isNot(this.#state, this.#acknowledged);
  }

  /** A new process knows what became of what was in doubt, and it stays so. */
  #takeUp({ state }: Mdm): void {
    const found = printOf(state);
    const doubt = this.#doubt;
    const isMade = found === doubt?.made;
    if (!isMade && found !== this.#acknowledged) throw isNot(state, this.#acknowledged);
    this.trace(
      `  a daemon takes over${doubt === undefined ? "" : `, finds ${isMade ? "made" : "not made"} what was in doubt`}`,
    );
    this.#acknowledged = found;
    this.#state = state;
    this.#acts = true;
    this.isNew = true;
    this.#doubt = undefined;
    this.harm.acknowledged();
    (isMade ? doubt?.done : doubt?.undone)?.();
  }

  /** Undefined: it was killed, or no member could be understood. */
  async #open(): Promise<Mdm | undefined> {
    try {
      return await Mdm.open(MEMBERS, { log: () => undefined, files: this.#members });
    } catch (error) {
      if (!this.#members.dead && (error as { code?: string }).code !== "state_corrupt") throw error;
      return undefined;
    }
  }

  #mayBeKilled(): void {
    if (!this.calm && this.#random() < 0.1) this.#members.killAfter = Math.floor(this.#random() * 25);
  }
}

const isNot = (state: SystemState, acknowledged: string) =>
  new Error(`the MDM says ${printOf(state)}; acknowledged was ${acknowledged}`);

function printOf({ volumes, ...tables }: SystemState): string {
  return JSON.stringify({ ...tables, volumes: [...volumes.values()] });
}
