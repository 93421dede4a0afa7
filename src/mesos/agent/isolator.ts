import fs from "node:fs";
import path from "node:path";
import { replaceFile } from "../../lib/atomic-file.ts";
import { KeyedMutex } from "../../lib/mutex.ts";
import type { MesosVolume } from "../task.ts";
import type { Dvdcli } from "./dvdcli.ts";
import { directoryInside } from "./sandbox.ts";

/** Something to be bound into a container's mount namespace. */
export interface Bind {
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
}

/** A volume in a container's checkpoint. */
interface Held {
  readonly driver: string;
  readonly name: string;
}

const keyOf = ({ driver, name }: Held) => `${driver}\0${name}`;

/**
 * Mesos' docker/volume isolator (spec/dvdcli.md 4): mounts the volumes of a container through dvdcli before it starts and
 * gives them back when it has ended and nobody else on this agent has them. What a container holds is on disk before the
 * first mount, so that an agent that comes back knows what it has to give back.
 */
export class Isolator {
  readonly #dvdcli: Pick<Dvdcli, "mount" | "unmount">;
  readonly #dir: string;
  readonly #log: (message: string) => void;
  readonly #containers = new Map<string, readonly Held[]>();
  /** Calls for one volume wait for each other. */
  readonly #queues = new KeyedMutex();

  /** @param dir where the checkpoints are */
  constructor(dvdcli: Pick<Dvdcli, "mount" | "unmount">, dir: string, log: (message: string) => void) {
    this.#dvdcli = dvdcli;
    this.#dir = dir;
    this.#log = log;
  }

  /**
   * After a start: containers that live keep what they hold, what others left is given back in the background; what is returned
   * is over when that is, and never fails. Throws when a checkpoint cannot be understood.
   */
  recover(living: ReadonlySet<string>): Promise<unknown> {
    for (const id of fs.existsSync(this.#dir) ? fs.readdirSync(this.#dir) : []) {
      const file = path.join(this.#dir, id, "volumes");
      const text = fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "";
      if (text === "") {
        this.#log(`container ${id} has an empty checkpoint: nothing of it is unmounted`);
        this.#containers.set(id, []);
        continue;
      }
      const held = heldOf(text, file);
      if (new Set(held.map(keyOf)).size < held.length) throw new Error(`duplicate volume in ${file}`);
      this.#containers.set(id, held);
    }
    const orphans = [...this.#containers.keys()].filter((id) => !living.has(id));
    return Promise.all(
      orphans.map((id) => this.cleanup(id).catch((error) => this.#log(`orphan ${id}: ${String(error)}`))),
    );
  }

  /** Throws what becomes the task's failure. {@link cleanup} is to be called also then. */
  async prepare(containerId: string, volumes: readonly MesosVolume[], sandbox: string): Promise<Bind[]> {
    const wanted: (Held & { options: Readonly<Record<string, string>>; target: string; readOnly: boolean })[] = [];
    for (const { source, containerPath, mode } of volumes) {
      if (!("driver" in source)) continue;
      if (source.driver === "")
        throw new Error(`The volume driver is not specified for volume '${source.name}' with container ${containerId}`);
      if (wanted.some((other) => keyOf(other) === keyOf(source)))
        throw new Error(`Found duplicate docker volume with driver '${source.driver}' and name '${source.name}'`);
      wanted.push({ ...source, target: targetOf(containerPath, sandbox), readOnly: mode === "RO" });
    }
    if (wanted.length === 0) return [];
    const held = wanted.map(({ driver, name }) => ({ driver, name }));
    const dir = path.join(this.#dir, containerId);
    fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
    await replaceFile(path.join(dir, "volumes"), JSON.stringify({ volumes: held }));
    this.#containers.set(containerId, held);
    const mounts = await Promise.allSettled(
      wanted.map((volume) =>
        this.#queues.run(keyOf(volume), () => this.#dvdcli.mount(volume.driver, volume.name, volume.options)),
      ),
    );
    const failures = mounts.flatMap((mount) => (mount.status === "rejected" ? [messageOf(mount.reason)] : []));
    if (failures.length > 0) throw new Error(failures.join("\n"));
    return wanted.map(({ target, readOnly, name }, index) => {
      const source = (mounts[index] as PromiseFulfilledResult<string>).value;
      if (source === "" || source.includes("\n"))
        throw new Error(`Failed to mount volume '${name}': "${source}" is no mount point`);
      return { source, target, readOnly };
    });
  }

  /** When the container's processes are dead. Throws when something could not be unmounted; the checkpoint stays then. */
  async cleanup(containerId: string): Promise<void> {
    const held = this.#containers.get(containerId);
    if (held === undefined) return;
    // Before the unmounts: one that fails must not count for ever.
    this.#containers.delete(containerId);
    const results = await Promise.allSettled(
      held.map((volume) =>
        this.#queues.run(keyOf(volume), async () => {
          if (!this.#isHeld(volume)) await this.#dvdcli.unmount(volume.driver, volume.name);
        }),
      ),
    );
    const failures = results.flatMap((result) => (result.status === "rejected" ? [messageOf(result.reason)] : []));
    if (failures.length > 0)
      throw new Error(`Failed to clean up an isolator when destroying container: ${failures.join("\n")}`);
    fs.rmSync(path.join(this.#dir, containerId), { recursive: true, force: true });
  }

  #isHeld(volume: Held): boolean {
    return [...this.#containers.values()].some((all) => all.some((other) => keyOf(other) === keyOf(volume)));
  }
}

/** What a checkpoint says (spec/dvdcli.md 4.5). Throws with Mesos' words, and the file. */
function heldOf(text: string, file: string): readonly Held[] {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new Error(`JSON parse failed: ${file}: ${messageOf(error)}`);
  }
  const { volumes = [] } = Object(json) as { readonly volumes?: unknown };
  if (Object(json) !== json || !Array.isArray(volumes) || !volumes.every(isHeld))
    throw new Error(`Protobuf parse failed: ${file}: volumes with a driver and a name each are expected`);
  return volumes;
}

function isHeld(value: unknown): value is Held {
  const { driver, name } = Object(value) as Partial<Record<keyof Held, unknown>>;
  return typeof driver === "string" && typeof name === "string";
}

/** Where a container without an image sees a path; the directory is made in the sandbox. */
function targetOf(containerPath: string, sandbox: string): string {
  if (containerPath.includes("\n"))
    throw new Error(`Container path '${containerPath}' holds a line break: leave it out`);
  if (path.isAbsolute(containerPath)) {
    if (fs.existsSync(containerPath)) return containerPath;
    throw new Error(`Absolute container path '${containerPath}' does not exist`);
  }
  if (path.join(sandbox, containerPath, "/") === path.join(sandbox, "/"))
    throw new Error(`Container path '${containerPath}' is the sandbox itself: name a directory in it`);
  return directoryInside(sandbox, containerPath);
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
