import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import type { Test } from "tap";
import { loopOf } from "../../src/host/loop.ts";
import { mountsOf } from "../../src/host/mountinfo.ts";
import { type FileSystems, kernelFileSystems } from "../../src/volumes/file-systems.ts";
import { Volumes, type VolumesConfig, type VolumesOptions } from "../../src/volumes/volumes.ts";
import { removeLeaks } from "../helpers/leaks.ts";
import { output } from "../helpers/run.ts";
import { letGoOfVolumes } from "../helpers/shell.ts";
import { tempDir } from "../helpers/temp-dir.ts";
import { waitFor } from "../helpers/wait.ts";
import { LoopDriver } from "./loop-driver.ts";

export const MIB = 1024 ** 2;

type Change = Partial<Omit<VolumesOptions, "config">> & { readonly config?: Partial<VolumesConfig> };

/** A volume service with its directories, a driver that outlives it and a clock to turn; all of it is gone after the test. */
export class World {
  readonly dir = tempDir("volumes");
  readonly stateDir = path.join(this.dir, "state");
  readonly mountPath = path.join(this.dir, "mnt");
  readonly driver: LoopDriver;
  readonly logged: string[] = [];
  /** What the service takes for the time. */
  clock = 1_000_000;
  readonly #services: Volumes[] = [];

  constructor(t: Test) {
    const backing = path.join(this.dir, "backing");
    fs.mkdirSync(backing);
    this.driver = new LoopDriver(backing);
    t.teardown(() => {
      for (const service of this.#services) service.close();
      removeLeaks({ dir: this.dir });
      fs.rmSync(this.dir, { recursive: true, force: true });
    });
  }

  /** A new service on the same state: the daemon's restart. */
  open({ config, ...options }: Change = {}): Volumes {
    const service = new Volumes({
      driver: this.driver,
      fileSystems: kernelFileSystems,
      stateDir: this.stateDir,
      log: (message) => this.logged.push(message),
      now: () => this.clock,
      ...options,
      config: {
        ...{ createDisable: false, createImplicit: true, preempt: false, retryCount: 0, retryWaitMs: 1 },
        ...{ ignoreUsedCount: false, removeDisable: false, rootPath: "/data", fileMode: 0o700 },
        defaults: { sizeBytes: 64 * MIB, fsType: "ext4", type: "", iops: 0, thick: false },
        mountPath: this.mountPath,
        ...config,
      },
    });
    this.#services.push(service);
    return service;
  }

  /** Where the answer of a mount points to. */
  data(name: string): string {
    return path.join(this.mountPath, name, "data");
  }

  /** The file in which the service remembers. */
  record(name: string): string {
    return path.join(this.stateDir, "attachments", `${name}.json`);
  }

  /** Uses on disk, by id; undefined without a record. */
  uses(name: string): Record<string, number> | undefined {
    if (!fs.existsSync(this.record(name))) return undefined;
    const { uses } = JSON.parse(fs.readFileSync(this.record(name), "utf8")) as {
      uses: { id: string; count: number }[];
    };
    return Object.fromEntries(uses.map(({ id, count }) => [id, count]));
  }

  async mounted(name: string): Promise<boolean> {
    return mountsOf(({ mountpoint }) => mountpoint === path.join(this.mountPath, name)).length > 0;
  }

  async device(name: string): Promise<string | undefined> {
    const volume = this.driver.find(name);
    return volume && loopOf(this.driver.file(volume.id));
  }

  /** What there is of a volume that nobody uses: nothing. */
  async traces(name: string): Promise<object> {
    const { driver } = this;
    return {
      mounted: await this.mounted(name),
      device: await this.device(name),
      uses: this.uses(name),
      attachedTo: driver.find(name)?.attachedTo ?? null,
    };
  }
}

/** What {@link World.traces} answers for a volume that is not in use. */
export const UNUSED = { mounted: false, device: undefined, uses: undefined, attachedTo: null };

/** A container would not see the volumes of everybody else either. */
const HOLDER = `${letGoOfVolumes('"$0"')}\nexec sleep 1000`;

/** A namespace that has all that is mounted below the directory, as a container has its volumes, until `end` or the test's. */
export async function holdNamespace(t: Test, dir: string): Promise<{ pid: number; end(): Promise<void> }> {
  const args = ["--mount", "--propagation", "private", "sh", "-c", HOLDER, dir];
  const child = spawn("unshare", args, { stdio: "ignore" });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const end = async () => {
    child.kill("SIGKILL");
    await ended;
  };
  t.teardown(end);
  const pid = child.pid as number;
  const ready = () => fs.readFileSync(`/proc/${pid}/comm`, "utf8").trim() === "sleep";
  await waitFor(ready, { what: "the holder to be there" });
  return { pid, end };
}

/** The kernel's own, with some of its operations replaced. */
export const withFaults = (faults: Partial<FileSystems>): FileSystems => ({ ...kernelFileSystems, ...faults });

/** Runs a tool that must succeed. */
export const tool = (file: string, ...args: string[]): Promise<string> => output(file, args);
