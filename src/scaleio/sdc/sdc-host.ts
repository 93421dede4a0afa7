import { stat, truncate } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import { unmountFuseFile } from "../../host/fuse.ts";
import { attachLoop, detachLoop, growLoop, loopOf, loops, loopTraffic } from "../../host/loop.ts";
import { mountsOf } from "../../host/mountinfo.ts";
import { enginePrograms, startEngine } from "./engine-process.ts";
import { killNow, workersIn, worksIn } from "./processes.ts";
import { type RepairOrder, RepairProcess } from "./repair-process.ts";

/** The engine for layers that are not attached. */
export interface Repairs {
  /** Returns when the order has been carried out. Throws when the process ends instead. */
  order(order: RepairOrder): Promise<void>;
  /** It ends in the middle of what it does. */
  kill(): Promise<void>;
  /** It ends when it has done what it was told. */
  end(): Promise<void>;
}

/** The machine as the SDC sees it: processes, mounts, block devices. Injected, so that tests can simulate one that is slow and nasty. */
export interface SdcHost {
  /** Mounts a run directory's block file and starts who serves it; answers the supervisor's id. Throws host_failed. */
  startEngine(dir: string): Promise<number | undefined>;
  /** @param root where it works while it has no layer open */
  repairs(root: string): Repairs;
  /** Ids of all processes that work in a run directory. */
  workersIn(dir: string): readonly number[];
  worksIn(pid: number, dir: string): boolean;
  /** SIGKILL. */
  kill(pid: number): void;
  isMounted(file: string): boolean;
  /** Lazily: the mount may have been copied into namespaces of others, and goes when the last one does. */
  unmount(file: string): Promise<void>;
  /** Has the engine look for orders. Throws when nobody serves the file. */
  ring(file: string): Promise<void>;
  attachLoop(file: string): Promise<string>;
  loopOf(file: string): string | undefined;
  /** Whether the loop device's file has no name any more but that of a mount's root. */
  isOrphan(device: string): boolean;
  /** It goes once nobody uses it any more. Nothing when it has gone already. */
  detachLoop(device: string): Promise<void>;
  growLoop(device: string, file: string, bytes: number): Promise<void>;
  /** What applications have done so far at the devices of all run directories below this one. */
  traffic(root: string): { readonly requests: number; readonly bytes: number };
  /** Milliseconds. */
  now(): number;
  pause(ms: number): Promise<unknown>;
}

/** This machine. */
export function thisHost(binDir: string): SdcHost {
  const programs = enginePrograms(binDir);
  return {
    startEngine: (dir) => startEngine(programs, dir),
    repairs: (root) => new RepairProcess(programs.engine, root),
    workersIn,
    worksIn,
    kill: killNow,
    isMounted: (file) => mountsOf((mount) => mount.mountpoint === file).length > 0,
    unmount: (file) => unmountFuseFile(file, { lazy: true }),
    ring: async (file) => void (await stat(file)),
    attachLoop,
    loopOf,
    isOrphan: (device) => loops().some((loop) => loop.device === device && loop.file === "/"),
    detachLoop,
    async growLoop(device, file, bytes) {
      // While writes are under way the kernel shows the size that it is told in answer to stat(), and reads by the old one;
      // after this it has it.
      await truncate(file, bytes);
      await growLoop(device);
    },
    traffic: loopTraffic,
    now: Date.now,
    pause: (ms) => pause(ms),
  };
}
