import fs from "node:fs/promises";
import path from "node:path";
import lockfile from "proper-lockfile";
import { errnoOf, SimError } from "../lib/errors.ts";
import { type ProcessId, processId, stillRuns } from "../lib/process-id.ts";

/** proper-lockfile's least stale time (ms); only a holder in another PID namespace makes anyone wait that long. */
const STALE = 2000;

/** A directory that this process has for itself. */
export interface HeldDir {
  release(): Promise<void>;
}

/** What to say about a directory, and what to do when its lock is lost. */
export interface HoldOptions {
  /** What the directory is, for messages: "state directory". */
  readonly what: string;
  /** The flag that names another one. */
  readonly flag: string;
  /** Mode of the directory when it has to be made. */
  readonly mode: number;
  /** Run directory of this daemon, by which a successor tells its user whom to stop. */
  readonly runDir: string;
  /** Called when the lock was taken or removed from under us. */
  readonly lost: (error: Error) => void;
}

/** Who has a directory: on file beside the lock, so that a successor can tell at once whether its holder is dead. */
interface Holder extends ProcessId {
  readonly runDir: string;
}

const holderFile = (dir: string) => path.join(dir, "daemon.holder");

/**
 * Takes a directory for this process, making it when absent. The lock of a dead process (kill -9) is taken over at once:
 * its holder is on file, and process numbers with start times do not lie. Throws in_use when a live daemon has it,
 * host_failed when it cannot be made or written.
 */
export async function holdDir(dir: string, options: HoldOptions): Promise<HeldDir> {
  try {
    await fs.mkdir(dir, { recursive: true, mode: options.mode });
    await checkOwner(dir, options);
    // Taking over and writing down who did it must be one step, or two successors could each remove the other's lock.
    const leave = await lockfile.lock(path.join(dir, "daemon.turn"), {
      realpath: false,
      stale: STALE,
      retries: { retries: 200, factor: 1, minTimeout: 20, maxTimeout: 20 },
    });
    try {
      return await takeTurn(dir, options);
    } finally {
      await leave();
    }
  } catch (error) {
    if (error instanceof SimError) throw error;
    const message = `cannot use the ${options.what} ${dir}: ${(error as Error).message}; run as root, or give another ${options.flag}`;
    throw new SimError("host_failed", message, { cause: error });
  }
}

/** Whoever else can write there could put links in the places of our files, and we are root. */
async function checkOwner(dir: string, { what, flag }: HoldOptions): Promise<void> {
  const { uid, mode } = await fs.stat(dir);
  const self = process.geteuid?.();
  if (uid === self && (mode & 0o002) === 0) return;
  const [wrong, remedy] =
    uid === self ? ["everybody may write to it", "chmod o-w"] : [`it belongs to user ${uid}`, `chown ${self}`];
  throw new SimError(
    "host_failed",
    `the ${what} ${dir} is not safe: ${wrong}; \`${remedy} ${dir}\`, or give another ${flag}`,
  );
}

async function takeTurn(dir: string, options: HoldOptions): Promise<HeldDir> {
  const target = path.join(dir, "daemon");
  const holder = await readHolder(dir);
  const alive = holder === undefined ? undefined : stillRuns(holder);
  if (alive === true) throw inUse(dir, options, holder);
  if (alive === false) await fs.rm(`${target}.lock`, { recursive: true, force: true });
  let unlock: () => Promise<void>;
  try {
    unlock = await lockfile.lock(target, { realpath: false, stale: STALE, onCompromised: options.lost });
  } catch (error) {
    if (errnoOf(error) !== "ELOCKED") throw error;
    throw inUse(dir, options, holder);
  }
  const self: Holder = { ...(processId(process.pid) as ProcessId), runDir: options.runDir };
  await fs.writeFile(holderFile(dir), `${JSON.stringify(self)}\n`, { mode: 0o600 });
  return {
    async release() {
      await fs.rm(holderFile(dir), { force: true });
      await unlock();
    },
  };
}

/** A holder that cannot be read was being written when its process died: the lock's own age decides then. */
async function readHolder(dir: string): Promise<Holder | undefined> {
  try {
    return JSON.parse(await fs.readFile(holderFile(dir), "utf8")) as Holder;
  } catch {
    return undefined;
  }
}

function inUse(dir: string, { what, flag }: HoldOptions, holder: Holder | undefined): SimError {
  const who = holder === undefined ? "" : ` (process ${holder.pid}, run directory ${holder.runDir})`;
  const stop = holder === undefined ? "rexray-sim down" : `rexray-sim down --run-dir ${holder.runDir}`;
  return new SimError(
    "in_use",
    `a rexray-sim runs with ${what} ${dir}${who}: stop it with \`${stop}\`, or give another ${flag}`,
  );
}
