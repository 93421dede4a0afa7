import fs from "node:fs";
import path from "node:path";
import type { FaultSpec } from "../../lib/fault.ts";
import type { ServiceState } from "../model.ts";
import { Layout } from "./layout.ts";
import type { Limits } from "./limiter.ts";

/**
 * What the daemon and a volume's engine tell each other: three small JSON files in the volume's run directory. Files
 * rather than a socket, because the engine has no event loop, and because whoever of the two is restarted finds there
 * all that it has to know. The daemon writes `session` and `control`, the engine writes `status`.
 */
export interface Session {
  readonly format: 1;
  readonly volumeId: string;
  /** The layer that takes the volume's writes: its files and its records bear this id. */
  readonly layerId: string;
  readonly sizeBytes: number;
  readonly mapVersion: number;
  /** The pool's devices in index order. `file` is the volume's file on that device; "" for a place without a device. */
  readonly devices: readonly {
    readonly name: string;
    readonly file: string;
    readonly state: Exclude<ServiceState, "decoupled">;
    /** It is in maintenance: its copies wait for it, and are not made anew elsewhere. */
    readonly resting?: boolean;
    /** What users have put on it (faults/). */
    readonly faults?: readonly FaultSpec[];
  }[];
  /** Group table, flat (layout.ts): three device indexes and a mask of retired slots a group. */
  readonly groups: readonly number[];
  readonly firstGroup: number;
  /** Where the layer's ledger and intent record are. */
  readonly recordDir: string;
  /** Frozen layers that show through where this one holds nothing, the nearest first. */
  readonly lower: readonly LowerLayer[];
  /** How many of them, the nearest first, nobody else needs: their chunks are to be copied into this one. */
  readonly absorb: number;
  /** Nobody writes to the layer, and several engines may read it. */
  readonly frozen?: boolean;
  readonly limits: Limits;
  /** Whether every block of every copy has a checksum. */
  readonly checksum: boolean;
  /** The SDC reaches no SDS: requests wait, for at most so long (ms; 0: for ever). The engine's own work goes on. */
  readonly disconnected?: { readonly limitMs: number };
  /** Whether retired copies may be given up; not while somebody reads them who has not been told. */
  readonly giveUp: boolean;
}

/** Where the chunks lie. */
export const layoutOf = ({ devices, groups, ...volume }: Session): Layout =>
  new Layout(
    volume,
    groups,
    devices.map(({ resting }) => resting === true),
    devices.map(({ state }) => state === "up"),
  );

/** A layer that nobody writes to any more (model.ts). */
export interface LowerLayer {
  readonly id: string;
  readonly sizeBytes: number;
  /** The layer's file on every device, in the order of {@link Session.devices}. */
  readonly files: readonly string[];
  readonly recordDir: string;
}

/** An order to the engine. It is looked at whenever the kernel asks for the file's attributes: stat() is the doorbell. */
export interface Control {
  /** Rises with every order; the engine answers it as `ack` in its status. */
  readonly seq: number;
  /** reload: read the session again. work: make up to `chunks` copies good again. scan: look at `chunks` from `first` on. */
  readonly action: "reload" | "work" | "scan";
  readonly first?: number;
  readonly chunks?: number;
}

export interface EngineStatus {
  readonly pid: number;
  readonly supervisorPid: number;
  readonly ack: number;
  readonly mapVersion: number;
  /** Whether the kernel lets a new engine take over (FUSE_NOTIFY_RESEND, Linux 6.9). */
  readonly resend: boolean;
  /** Copies known to be stale, and chunks whose copies still have to be compared after an unclean stop. */
  readonly staleCopies: number;
  readonly unsyncedChunks: number;
  /**
   * What the last order to work made good, see BlockStore.work. Copies that applications make stale meanwhile hide it in the counts.
   * An engine that a former version has left does not say it.
   */
  readonly worked?: number;
  /** Chunks with fewer than two good copies, of which another one can be made now. One that a former version has left counts all. */
  readonly degradedChunks: number;
  /** Copies in retired slots that have not been given up yet. */
  readonly garbage: number;
  /** Chunks that still have to be copied from layers that are to go. */
  readonly absorbing: number;
  /** Ids of lower layers of which it needs nothing any more. */
  readonly absorbed: readonly string[];
  /** The layer that takes the writes. */
  readonly layerId: string;
  /** Nothing was ever written to the volume. */
  readonly blank: boolean;
  /**
   * How often a block was found whose content was not what had been written, by device; `fixed` of them were put right, so that
   * it is certain that the device has lied.
   */
  readonly badBlocks: readonly { readonly name: string; readonly count: number; readonly fixed: number }[];
  /** Blocks of all devices that were put right. */
  readonly fixedBlocks: number;
  /** Devices that failed under this engine, by name; `code` is that of the error: "EIO", or "" when there was none. */
  readonly failedDevices: readonly { readonly name: string; readonly reason: string; readonly code: string }[];
}

/** The file names inside a volume's run directory. */
export const sessionFiles = (dir: string) => ({
  session: path.join(dir, "session.json"),
  control: path.join(dir, "control.json"),
  status: path.join(dir, "status.json"),
  /** What was agreed with the kernel, for the engine that takes over. */
  negotiated: path.join(dir, "negotiated.json"),
  /** Why the engine could not open the volume: a code and a message. */
  failure: path.join(dir, "failure.json"),
  /** The FUSE mount point: the block file itself. */
  volume: path.join(dir, "volume"),
  /** Path of the loop device that it is attached to. */
  device: path.join(dir, "device"),
  log: path.join(dir, "engine.log"),
});

/** Replaces a file in one step, so that a reader sees the old or the new text. Not durable: run state dies with the machine. */
export function replaceJson(file: string, value: unknown): void {
  const aside = `${file}.${process.pid}`;
  fs.writeFileSync(aside, JSON.stringify(value), { mode: 0o600 });
  fs.renameSync(aside, file);
}

/** Reads a run file; undefined when it is not there. The writers replace whole files, so a torn one is a defect and throws. */
export function readJson<T>(file: string): T | undefined {
  let text: string;
  try {
    text = fs.readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  return JSON.parse(text) as T;
}
