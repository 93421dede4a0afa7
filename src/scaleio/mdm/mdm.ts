import { asSimError, SimError } from "../../lib/errors.ts";
import type { Change, MdmMemberStatus, SystemState } from "../model.ts";
import { apply, emptyTables, type Tables } from "./apply.ts";
import { encode, type History, lastOf, Member, type Position, type Snapshot } from "./member.ts";
import { type MemberFiles, nodeMemberFiles } from "./member-files.ts";

const QUORUM = 2;
/** The log is folded into a snapshot when it has as many changes as the tables have rows, and at least this many. */
const FEWEST_FOLDED = 1000;

export interface MdmOptions {
  readonly log: (message: string) => void;
  readonly files?: MemberFiles;
}

interface Waiting {
  readonly change: Change;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The MDM cluster: three members, each with a snapshot of the tables and a log of the changes since. A change is acknowledged
 * when two members have it on disk (design.md, invariant 7). One process writes, which holds the state directory, and the
 * members only store; so this is Raft without its messages (Ongaro and Ousterhout, 2014; its terms are the epochs here):
 *
 * - Who takes up the history reads at least two members, one of which has all that was acknowledged, and goes by the one that
 *   ends last (member.ts). Whatever it finds there counts, acknowledged or not: nobody can tell.
 * - It gives that to all members, as it is, and when two have it begins a new epoch with an entry of its own. When two have
 *   that, changes follow. So no two processes make changes in the same epoch, and of two histories that differ the one that
 *   ends in the newer epoch has all that was acknowledged.
 * - A change that does not get onto two members is taken back from the logs before its caller hears that it is refused.
 *
 * What may die, and what holds then:
 *
 * - One member, whatever happens to it (lost, damaged, torn, an old copy of it put back, its disk full): nothing; it is mended
 *   from the others. The same for any number of them one after the other, when each is mended before the next falls ill.
 * - A second one before that, when it still has its files later: changes are refused until two can be read.
 * - A second one for good: nothing acknowledged is missing if the other one has it or the change is on the third. What only
 *   those two had is lost.
 * - The process, at any step: what was acknowledged is there, what was refused is not. What it was at may be there or not, and
 *   from the first start on that finds a quorum stays so.
 * - While a change is made, so many members that it is neither acknowledged nor can be taken back: its caller hears in_doubt.
 *   It has not been made if this process goes on; another one may find it.
 * - Two members at a start: the third may be behind. What it says can be read, and nobody may act by it: see {@link isCurrent}.
 *
 * Changes that wait for the same write share it.
 */
export class Mdm {
  readonly #members: readonly Member[];
  readonly #log: (message: string) => void;
  #tables: Tables = emptyTables();
  /** Where the history ends that the tables are of. */
  #last: Position = { epoch: 0, index: 0 };
  #epoch = 0;
  #isCurrent = false;
  /** Changes since the members' snapshot. */
  #unfolded = 0;
  /** Members that are down on purpose. */
  readonly #down = new Set<Member>();
  /** Why there is no quorum, as it was last told. */
  #told = "";
  #queue: Waiting[] = [];
  #writing: Promise<void> | undefined;

  private constructor(members: readonly Member[], log: (message: string) => void) {
    this.#members = members;
    this.#log = log;
  }

  /**
   * Opens the members in these directories. Without a quorum the tables can be read, and changes are refused until {@link repair}
   * finds one. Throws state_newer when a member was written by a newer version, state_corrupt when none can be understood.
   */
  static async open(directories: readonly string[], { log, files = nodeMemberFiles }: MdmOptions): Promise<Mdm> {
    const mdm = new Mdm(
      directories.map((directory) => new Member(directory, files)),
      log,
    );
    await mdm.#exclusively(() => mdm.#takeUp({ mayBeNew: true }));
    return mdm;
  }

  /** Changes are visible when {@link commit} returns. */
  get state(): SystemState {
    return this.#tables;
  }

  /**
   * Whether the state is the newest that was acknowledged. It stays so whatever becomes of the members while this process
   * runs. False: there has been no quorum since the start, and the state may be of any time before.
   */
  get isCurrent(): boolean {
    return this.#isCurrent;
  }

  members(): MdmMemberStatus[] {
    return this.#members.map(({ name, reason }) => ({ name, state: reason === "" ? "normal" : "failed", reason }));
  }

  /** Throws no_quorum, in words for a person, unless the state may be acted by. */
  checkCurrent(): void {
    if (this.#isCurrent) return;
    const directories = this.#members.map(({ directory }) => directory).join(", ");
    throw new SimError(
      "no_quorum",
      `the MDM takes no changes, and what it shows may be old: fewer than two of its three members work (${this.#words()}): bring a second one of ${directories} back, and it goes on by itself; if the one that is left has surely missed nothing, copy its directory over another one's`,
    );
  }

  /** Makes a change. Throws no_quorum: nothing has changed. Throws in_doubt: nothing has, but the next process may find it made. */
  commit(change: Change): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ change, resolve, reject });
      if (this.#writing === undefined) void this.#exclusively(() => this.#drain());
    });
  }

  /** These members, by name, are down on purpose; all others may come back. */
  async takeDown(names: readonly string[]): Promise<void> {
    await this.#exclusively(async () => {
      for (const member of this.#members) {
        if (names.includes(member.name)) {
          if (!this.#down.has(member)) await member.fail("it is down: an injected fault");
          this.#down.add(member);
        } else this.#down.delete(member);
      }
    });
    await this.repair();
  }

  /** Tries to bring members back that have failed, and to find a quorum when there is none. Throws as {@link open}. */
  async repair(): Promise<void> {
    if (this.#healthy().length === this.#members.length) return;
    await this.#exclusively(async () => {
      if (!this.#isCurrent) await this.#takeUp({ mayBeNew: false });
      else if (this.#healthy().length < QUORUM) await this.#lead();
      else await this.#mend(this.#members.filter(({ reason }) => reason !== ""));
    });
  }

  async close(): Promise<void> {
    await this.#writing;
    for (const member of this.#members) await member.close();
  }

  #healthy(): Member[] {
    return this.#members.filter(({ reason }) => reason === "");
  }

  #words(): string {
    return this.#members.map(({ name, reason }) => `member ${name}: ${reason || "normal"}`).join("; ");
  }

  /**
   * Goes by the newest history, if enough can be read.
   *
   * @param mayBeNew where there is nothing at all, nothing was ever acknowledged
   */
  async #takeUp({ mayBeNew }: { mayBeNew: boolean }): Promise<void> {
    const { histories, damaged } = this.#read();
    const [newest] = [...histories].sort((a, b) => compare(lastOf(b), lastOf(a)));
    const tables = emptyTables();
    if (newest !== undefined) restore(tables, newest);
    const isNew = mayBeNew && tables.systemId === "" && damaged.length === 0;
    if (newest === undefined && !isNew) {
      throw new SimError(
        "state_corrupt",
        `no MDM member can be understood (${this.#words()}): restore one of their directories from a backup`,
      );
    }
    this.#tables = tables;
    this.#last = newest === undefined ? { epoch: 0, index: 0 } : lastOf(newest);
    this.#epoch = Math.max(this.#epoch, this.#last.epoch);
    if (histories.length >= QUORUM || isNew) await this.#lead();
    else
      for (const member of this.#members) member.reason ||= "it is the only member left, and may have missed changes";
  }

  /** Every member that has something to say. */
  #read(): { histories: readonly History[]; damaged: readonly string[] } {
    const histories: History[] = [];
    const damaged: string[] = [];
    for (const member of this.#members) {
      if (this.#down.has(member)) continue;
      try {
        const history = member.read();
        member.reason = history === undefined ? "its files are lost" : "";
        if (history !== undefined) histories.push(history);
      } catch (error) {
        const failure = asSimError(error);
        // Mending over a newer format would destroy it.
        if (failure.code === "state_newer") throw failure;
        damaged.push(failure.message);
        if (member.reason !== failure.message) this.#log(`MDM member ${member.name}: ${failure.message}`);
        member.reason = failure.message;
      }
    }
    return { histories, damaged };
  }

  /** Gives all members what the tables hold, and begins an epoch. Without a quorum all stays as it is. */
  async #lead(): Promise<void> {
    try {
      this.#epoch++;
      await this.#mend(this.#members);
      await this.#append([null]);
      this.#isCurrent = true;
      this.#unfolded = 0;
      this.#told = "";
    } catch (error) {
      const { code, message } = asSimError(error);
      if (code !== "no_quorum" && code !== "in_doubt") throw error;
      if (this.#told !== message) this.#log(message);
      this.#told = message;
    }
  }

  async #mend(members: readonly Member[]): Promise<void> {
    const snapshot = this.#snapshot();
    for (const member of members)
      if (!this.#down.has(member)) await member.replace(snapshot).catch((error) => this.#fail(member, error));
  }

  async #drain(): Promise<void> {
    while (this.#queue.length > 0) {
      const batch = this.#queue;
      this.#queue = [];
      try {
        this.checkCurrent();
        await this.#append(batch.map(({ change }) => change));
        for (const { change } of batch) apply(this.#tables, change);
        this.#unfolded += batch.length;
        if (this.#unfolded >= Math.max(FEWEST_FOLDED, this.#tables.volumes.size)) await this.#fold();
        for (const { resolve } of batch) resolve();
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
  }

  /** On two members when it returns, on none when it throws no_quorum; in_doubt: whether on some cannot be said. */
  async #append(changes: readonly (Change | null)[]): Promise<void> {
    this.#checkQuorum();
    const { index } = this.#last;
    const text = encode(changes.map((change, i) => ({ epoch: this.#epoch, index: index + 1 + i, change })));
    const asked = this.#healthy().map((member) => ({ member, length: member.length }));
    const answers = await Promise.allSettled(asked.map(({ member }) => member.append(text)));
    const refused = answers.filter(({ status }) => status === "fulfilled").length < QUORUM;
    // In no log any more, before anybody is told.
    const back = refused ? await Promise.allSettled(asked.map(({ member, length }) => member.cutBack(length))) : [];
    for (const [i, { member }] of asked.entries()) {
      const failed = [answers[i], back[i]].find((answer) => answer?.status === "rejected");
      if (failed?.status === "rejected") await this.#fail(member, failed.reason);
    }
    if (back.some(({ status }) => status === "rejected")) {
      throw new SimError(
        "in_doubt",
        `the MDM could not make the change, nor take it back everywhere (${this.#words()}): mend one of them, and look whether it has been made before you try again`,
      );
    }
    this.#checkQuorum();
    this.#last = { epoch: this.#epoch, index: index + changes.length };
  }

  #checkQuorum(): void {
    if (this.#healthy().length >= QUORUM) return;
    throw new SimError(
      "no_quorum",
      `the MDM takes no changes, fewer than two of its three members work (${this.#words()}): mend one, and it goes on by itself`,
    );
  }

  /** Writes a snapshot to every healthy member, which makes their logs empty. */
  async #fold(): Promise<void> {
    await this.#mend(this.#healthy());
    this.#unfolded = 0;
  }

  async #fail(member: Member, error: unknown): Promise<void> {
    const { message } = asSimError(error);
    if (member.reason !== message) this.#log(`MDM member ${member.name} failed: ${message}`);
    await member.fail(message);
  }

  /** One task at a time touches the members. What was queued meanwhile is written next. */
  async #exclusively(task: () => Promise<void>): Promise<void> {
    while (this.#writing !== undefined) await this.#writing.catch(() => undefined);
    this.#writing = task();
    try {
      await this.#writing;
    } finally {
      this.#writing = undefined;
      if (this.#queue.length > 0) void this.#exclusively(() => this.#drain());
    }
  }

  #snapshot(): Snapshot {
    const { systemId, lastId, pool, sds, volumes } = this.#tables;
    return {
      ...this.#last,
      tables: JSON.stringify({ systemId, lastId, pool, sds, volumes: [...volumes.values()] }),
    };
  }
}

/** Whether the next start may find made what this error was the answer to: files that belong to it must stay. */
export const isInDoubt = (error: unknown): boolean => error instanceof SimError && error.code === "in_doubt";

const compare = (a: Position, b: Position) => a.epoch - b.epoch || a.index - b.index;

function restore(tables: Tables, { snapshot, entries }: History): void {
  if (snapshot !== undefined) {
    const { volumes, ...rest } = JSON.parse(snapshot.tables) as Omit<SystemState, "volumes"> & {
      volumes: SystemState["volumes"] extends ReadonlyMap<string, infer V> ? V[] : never;
    };
    Object.assign(tables, rest);
    for (const volume of volumes) tables.volumes.set(volume.id, volume);
  }
  for (const { change } of entries) if (change !== null) apply(tables, change);
}
