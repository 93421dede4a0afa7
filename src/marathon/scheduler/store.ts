import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { replaceFile } from "../../lib/atomic-file.ts";
import { errnoOf, SimError } from "../../lib/errors.ts";
import type { AppDefinition } from "../definition/app.ts";
import { type Backoff, NO_BACKOFF } from "./backoff.ts";
import type { Deployment } from "./deployment.ts";
import type { Instance } from "./instance.ts";

/** One version of an application. */
export interface Version {
  readonly version: string;
  readonly app: AppDefinition;
  readonly lastScalingAt: string;
  readonly lastConfigChangeAt: string;
}

export interface TaskFailure {
  readonly appId: string;
  readonly host: string;
  readonly message: string;
  readonly slaveId: string;
  readonly state: string;
  readonly taskId: string;
  readonly timestamp: string;
  readonly version: string;
}

/** An application with all that is remembered of it. */
export interface AppRecord {
  /** Newest first; never empty. */
  versions: Version[];
  instances: Instance[];
  lastTaskFailure?: TaskFailure;
  backoff: Backoff;
  /** It goes when its last instance has ended. */
  removed: boolean;
}

/** What a group is beyond the applications in it. */
export interface GroupRecord {
  readonly dependencies: readonly string[];
  readonly version: string;
}
/** By absolute path; those that only applications' ids speak of are not there. */
export type Groups = Readonly<Record<string, GroupRecord>>;

/** Versions that are kept (`zk_max_versions`). */
const MOST_VERSIONS = 50;

/** Of a file, without what is put after it. */
const LONGEST_NAME = 200;

export const current = (record: AppRecord): Version => record.versions[0] as Version;

export function newRecord(version: Version): AppRecord {
  return { versions: [version], instances: [], backoff: NO_BACKOFF, removed: false };
}

/** The newest are kept, and those that something still runs by. */
export function addVersion(record: AppRecord, version: Version): void {
  const used = new Set(record.instances.map((instance) => instance.version));
  record.versions = [version, ...record.versions].filter(
    (one, index) => index < MOST_VERSIONS || used.has(one.version),
  );
}

/** What an instance was started by: it is judged, counted and looked after by that, whatever has come since. */
export function definitionOf(record: AppRecord, { version }: Pick<Instance, "version">): AppDefinition {
  return (record.versions.find((one) => one.version === version) ?? current(record)).app;
}

/** A change that is being put on disk. */
interface Beginning {
  readonly begun?: readonly Deployment[];
  readonly replaced?: readonly Deployment[];
  readonly groups?: Groups;
}

/**
 * Marathon's memory: a file for each application and one for the deployments, each replaced in one step. What an answer has
 * said is on disk before it is said; a task is on record before its agent hears of it.
 */
export class Store {
  readonly apps = new Map<string, AppRecord>();
  deployments: Deployment[] = [];
  groups: Groups = {};
  /** There was no record yet. */
  readonly isNew: boolean;
  readonly frameworkId: string;
  readonly #dir: string;
  /** Writes of one file follow each other; several changes may share one. */
  readonly #writes = new Map<string, { running: Promise<void>; next: Promise<void> | undefined }>();
  readonly #saving = new Set<Promise<void>>();
  /** Of applications whose last write has failed. */
  readonly #unsaved = new Set<string>();
  /** What {@link begin} is writing: on disk before it is in memory. */
  #beginning: Beginning | undefined;

  /** @param fresh the framework's id when there is none yet. Throws state_corrupt when a file cannot be understood. */
  constructor(dir: string, fresh: string) {
    this.#dir = dir;
    const apps = path.join(dir, "apps");
    fs.mkdirSync(apps, { recursive: true, mode: 0o700 });
    for (const name of fs.readdirSync(apps).filter((file) => file.endsWith(".json"))) {
      const record = readJson<AppRecord>(path.join(apps, name));
      this.apps.set(current(record).app.id, record);
    }
    const file = path.join(dir, "marathon.json");
    this.isNew = !fs.existsSync(file);
    // Former versions did not keep groups.
    const known = this.isNew
      ? { frameworkId: fresh, deployments: [] }
      : readJson<{ frameworkId: string; deployments: Deployment[]; groups?: Groups }>(file);
    this.frameworkId = known.frameworkId;
    this.deployments = known.deployments;
    this.groups = known.groups ?? {};
  }

  saveApp(id: string): Promise<void> {
    return this.#counted(this.#saveApp(id));
  }

  async #saveApp(id: string): Promise<void> {
    const file = path.join(this.#dir, "apps", fileOf(id));
    this.#unsaved.add(id);
    await this.#write(file, () => this.apps.get(id));
    this.#unsaved.delete(id);
  }

  /** A deployment is on record until what it has changed is: those that could not be written are written first. */
  saveDeployments(): Promise<void> {
    return this.#counted(this.#saveDeployments());
  }

  async #saveDeployments(): Promise<void> {
    await Promise.all([...this.#unsaved].map((id) => this.saveApp(id)));
    const { frameworkId } = this;
    await this.#write(path.join(this.#dir, "marathon.json"), () => {
      const { begun = [], replaced = [], groups = this.groups } = this.#beginning ?? {};
      const deployments = [...this.deployments.filter((one) => !replaced.includes(one)), ...begun];
      return { frameworkId, deployments, groups };
    });
  }

  /**
   * The moment from which on a change is made: a deployment says what its applications shall be, so that a death before they are
   * on disk costs nothing. Throws when it cannot be written; nothing has changed then. One at a time.
   */
  async begin({ begun = [], replaced = [], groups = this.groups }: Beginning): Promise<void> {
    if (begun.length + replaced.length === 0 && groups === this.groups) return;
    this.#beginning = { begun, replaced, groups };
    try {
      await this.saveDeployments();
      this.deployments = [...this.deployments.filter((one) => !replaced.includes(one)), ...begun];
      this.groups = groups;
    } finally {
      this.#beginning = undefined;
    }
  }

  /** Waits for what is being written. */
  async idle(): Promise<void> {
    while (this.#saving.size > 0) await Promise.allSettled(this.#saving);
  }

  async #counted(saving: Promise<void>): Promise<void> {
    this.#saving.add(saving);
    try {
      await saving;
    } finally {
      this.#saving.delete(saving);
    }
  }

  /** When it returns, the content as it is now, or newer, is on disk. Nothing left: the file goes. */
  #write(file: string, content: () => unknown): Promise<void> {
    const now = async () => {
      const value = content();
      if (value === undefined) fs.rmSync(file, { force: true });
      else await replaceFile(file, JSON.stringify(value));
    };
    const under = this.#writes.get(file);
    if (under === undefined) {
      const running = now().finally(() => {
        const entry = this.#writes.get(file);
        if (entry?.next === undefined) this.#writes.delete(file);
      });
      this.#writes.set(file, { running, next: undefined });
      return running;
    }
    under.next ??= under.running.then(
      () => this.#again(file, content),
      () => this.#again(file, content),
    );
    return under.next;
  }

  #again(file: string, content: () => unknown): Promise<void> {
    this.#writes.delete(file);
    return this.#write(file, content);
  }
}

/** Long ids have names that tell them apart. */
function fileOf(id: string): string {
  const name = encodeURIComponent(id.slice(1));
  if (name.length <= LONGEST_NAME) return `${name}.json`;
  return `${name.slice(0, LONGEST_NAME)}~${createHash("sha256").update(id).digest("hex").slice(0, 16)}.json`;
}

/** Files are replaced as a whole, so one that cannot be read was damaged by somebody else. */
function readJson<T>(file: string): T {
  try {
    return JSON.parse(fs.readFileSync(file, "utf8")) as T;
  } catch (error) {
    // What a parser says quotes the file, in which there may be passwords.
    const why = errnoOf(error) ?? "it is no JSON";
    throw new SimError(
      "state_corrupt",
      `${file} cannot be read (${why}): restore it from a backup, or remove it and post that application again`,
    );
  }
}
