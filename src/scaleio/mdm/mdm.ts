import fs from "node:fs";
import { asSimError, SimError } from "../../lib/errors.ts";
import type { Change, MdmMemberStatus, SystemState } from "../model.ts";
import { apply, emptyTables, type Tables } from "./apply.ts";
import { type Entry, encode, type History, lastOf, Member, type Snapshot } from "./member.ts";

const QUORUM = 2;
/** The log is folded into a snapshot when it has as many changes as the tables have rows, and at least this many. */
const FEWEST_FOLDED = 1000;

interface Waiting {
  readonly change: Change | null;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The MDM cluster: three members, each with a log of all changes and a snapshot. A change is acknowledged when two members
 * have it on disk (design.md, invariant 7). A start takes the history with the highest epoch and index of those it can
 * read, opens a new epoch, and mends the others; so a change that only one member got, and was never acknowledged, cannot
 * come back over newer ones. Changes that wait for the same write share it.
 */
export class Mdm {
  readonly #members: readonly Member[];
  readonly #log: (message: string) => void;
  readonly #tables: Tables;
  #epoch: number;
  #index: number;
  /** Changes since the members' snapshot. */
  #unfolded = 0;
  /** This process has all that was ever acknowledged, whatever becomes of the members. */
  #hadQuorum = false;
  /** Members that are down on purpose. */
  readonly #down = new Set<Member>();
  #queue: Waiting[] = [];
  #writing: Promise<void> | undefined;

  private constructor(
    members: readonly Member[],
    log: (message: string) => void,
    tables: Tables,
    last: { epoch: number; index: number },
  ) {
    this.#members = members;
    this.#log = log;
    this.#tables = tables;
    this.#epoch = last.epoch + 1;
    this.#index = last.index;
  }

  /**
   * Opens the members in these directories. With fewer than two sound members the tables can be read and changes are
   * refused. Throws state_newer when a member was written by a newer version, state_corrupt when none can be understood.
   */
  static async open(directories: readonly string[], { log }: { log: (message: string) => void }): Promise<Mdm> {
    const members = directories.map((directory) => new Member(directory));
    const histories = new Map<Member, History>();
    const empty: Member[] = [];
    const damage: SimError[] = [];
    for (const member of members) {
      try {
        fs.mkdirSync(member.directory, { recursive: true, mode: 0o700 });
        const history = member.read();
        if (history === undefined) empty.push(member);
        else histories.set(member, history);
      } catch (error) {
        const failure = asSimError(error);
        // Mending over a newer format would destroy it.
        if (failure.code === "state_newer") throw failure;
        damage.push(failure);
        member.reason = failure.message;
        log(`MDM member ${member.name}: ${failure.message}`);
      }
    }
    if (histories.size === 0 && damage.length > 0) {
      const words = damage.map(({ message }) => message).join("; ");
      throw new SimError(
        "state_corrupt",
        `no MDM member can be understood (${words}): restore one of their directories from a backup`,
      );
    }
    const [best] = [...histories.values()].sort((a, b) => compare(lastOf(b), lastOf(a)));
    const tables = emptyTables();
    if (best !== undefined) restore(tables, best);
    const mdm = new Mdm(members, log, tables, best === undefined ? { epoch: 0, index: 0 } : lastOf(best));
    // Two members must agree before anything is changed: one alone may have missed what the two others acknowledged.
    if (histories.size >= QUORUM || best === undefined) {
      await mdm.#beginEpoch();
    } else {
      for (const member of empty) member.reason = "its files are lost";
      for (const member of histories.keys())
        member.reason ||= "it is the only member left, and may have missed changes";
    }
    return mdm;
  }

  /** Always the newest acknowledged state; changes are visible when {@link commit} returns. */
  get state(): SystemState {
    return this.#tables;
  }

  members(): MdmMemberStatus[] {
    return this.#members.map(({ name, reason }) => ({ name, state: reason === "" ? "normal" : "failed", reason }));
  }

  /** Makes a change. Throws no_quorum, and then nothing has changed. */
  commit(change: Change): Promise<void> {
    return this.#enqueue(change);
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

  /** Tries to bring members back that failed while this process ran. */
  async repair(): Promise<void> {
    const healthy = this.#healthy().length;
    if (healthy === this.#members.length || (healthy < QUORUM && !this.#hadQuorum)) return;
    // Without a quorum a healthy member may have been given what was never acknowledged: it gets what the others get.
    await this.#exclusively(() => this.#mend(healthy < QUORUM ? this.#members : undefined));
  }

  async close(): Promise<void> {
    await this.#writing;
    for (const member of this.#members) await member.close();
  }

  #healthy(): Member[] {
    return this.#members.filter(({ reason }) => reason === "");
  }

  #enqueue(change: Change | null): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ change, resolve, reject });
      if (this.#writing === undefined) void this.#exclusively(() => this.#drain());
    });
  }

  async #drain(): Promise<void> {
    while (this.#queue.length > 0) {
      const batch = this.#queue;
      this.#queue = [];
      try {
        await this.#write(batch);
        for (const { resolve } of batch) resolve();
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
  }

  async #write(batch: readonly Waiting[]): Promise<void> {
    this.#requireQuorum();
    const entries: Entry[] = batch.map(({ change }, i) => ({ epoch: this.#epoch, index: this.#index + 1 + i, change }));
    const text = entries.map(encode).join("");
    await Promise.all(
      this.#healthy().map((member) =>
        member.append(text).catch(async (error) => {
          await member.fail(asSimError(error).message);
          this.#log(`MDM member ${member.name} failed: ${member.reason}`);
        }),
      ),
    );
    this.#requireQuorum();
    for (const { change } of batch) if (change !== null) apply(this.#tables, change);
    this.#index += entries.length;
    this.#unfolded += entries.length;
    if (this.#unfolded >= Math.max(FEWEST_FOLDED, this.#tables.volumes.size)) await this.#fold();
  }

  #requireQuorum(): void {
    if (this.#healthy().length >= QUORUM) return;
    const words = this.#members.map(({ name, reason }) => `member ${name}: ${reason || "normal"}`).join("; ");
    throw new SimError(
      "no_quorum",
      `the MDM takes no changes, fewer than two of its three members work (${words}): mend one and start rexray-sim again`,
    );
  }

  /** Writes a snapshot to every healthy member, which makes their logs empty. */
  async #fold(): Promise<void> {
    const snapshot = this.#snapshot();
    for (const member of this.#healthy()) {
      await member.replace(snapshot).catch(async (error) => {
        await member.fail(asSimError(error).message);
        this.#log(`MDM member ${member.name} failed: ${member.reason}`);
      });
    }
    this.#unfolded = 0;
  }

  /** At start: every member gets the chosen history, whatever it had, and the new epoch is put on record. */
  async #beginEpoch(): Promise<void> {
    await this.#mend(this.#members);
    await this.#enqueue(null);
    this.#hadQuorum = true;
  }

  async #mend(members: readonly Member[] = this.#members.filter(({ reason }) => reason !== "")): Promise<void> {
    const snapshot = this.#snapshot();
    for (const member of members) {
      if (this.#down.has(member)) continue;
      try {
        fs.mkdirSync(member.directory, { recursive: true, mode: 0o700 });
        if (member.reason !== "") await member.setAside();
        await member.replace(snapshot);
      } catch (error) {
        await member.fail(asSimError(error).message);
      }
    }
    if (members === this.#members) this.#unfolded = 0;
  }

  /** One task at a time touches the members. What was queued meanwhile is written next. */
  async #exclusively(task: () => Promise<void>): Promise<void> {
    while (this.#writing !== undefined) await this.#writing;
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
      epoch: this.#epoch,
      index: this.#index,
      tables: JSON.stringify({ systemId, lastId, pool, sds, volumes: [...volumes.values()] }),
    };
  }
}

const compare = (a: { epoch: number; index: number }, b: { epoch: number; index: number }) =>
  a.epoch - b.epoch || a.index - b.index;

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
