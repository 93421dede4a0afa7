import fs from "node:fs";
import path from "node:path";
import { z } from "zod";
import { replaceFile } from "../lib/atomic-file.ts";
import { errnoOf } from "../lib/errors.ts";
import type { Id } from "./model.ts";
import type { EngineStatus } from "./sdc/session.ts";

const FORMAT = 1;
/** After so many a device is not believed any more. */
const MOST = 100;

const counts = z.record(z.string(), z.number());
const file = z.strictObject({
  format: z.literal(FORMAT),
  /** By the device's id. */
  devices: counts,
  /** By volume: what has been counted of the engine that it has now. */
  engines: z.record(z.string(), z.strictObject({ engine: z.string(), counts })),
});

/** What an engine has to say of it. */
type Said = Pick<EngineStatus, "pid" | "supervisorPid" | "layerId" | "badBlocks">;

/**
 * How often each device has lied: blocks that held something else than was written, while another copy held that. Counted over
 * all volumes, engines and scans, and kept until somebody says that the device is well. A book that cannot be read is an empty
 * one: what is read is checked in any case.
 */
export class BadBlocks {
  readonly #file: string;
  readonly #devices: Map<Id, number>;
  readonly #engines: Map<Id, { engine: string; counts: Readonly<Record<string, number>> }>;
  #saved: Promise<void> = Promise.resolve();

  constructor(stateDir: string, log: (message: string) => void) {
    this.#file = path.join(stateDir, "bad-blocks.json");
    const { devices, engines } = read(this.#file, log);
    this.#devices = new Map(Object.entries(devices));
    this.#engines = new Map(Object.entries(engines));
  }

  count(device: Id): number {
    return this.#devices.get(device) ?? 0;
  }

  /** It is not to be believed any more. */
  isLiar(device: Id): boolean {
    return this.count(device) >= MOST;
  }

  /**
   * Counts what an engine has found.
   *
   * @param volume whose engine it is, to be asked again; undefined: it has ended, this was its last word
   * @param idOf a device's id, by the name that the engine has for it
   */
  async take(volume: Id | undefined, said: Said, idOf: (name: string) => Id | undefined): Promise<void> {
    const engine = `${said.supervisorPid}/${said.pid}/${said.layerId}`;
    const before = volume === undefined ? undefined : this.#engines.get(volume);
    const known = before?.engine === engine ? before.counts : {};
    let news = false;
    // Engines of an older version do not say how many they have put right.
    for (const { name, fixed = 0 } of said.badBlocks) {
      const id = idOf(name);
      const more = fixed - (known[name] ?? 0);
      if (id === undefined || more <= 0) continue;
      this.#devices.set(id, this.count(id) + more);
      news = true;
    }
    if (!news) return;
    if (volume !== undefined)
      this.#engines.set(volume, {
        engine,
        counts: Object.fromEntries(said.badBlocks.map((one) => [one.name, one.fixed])),
      });
    await this.#save();
  }

  /** The device is believed again. */
  async clear(device: Id): Promise<void> {
    if (this.#devices.delete(device)) await this.#save();
  }

  async forget(volume: Id): Promise<void> {
    if (this.#engines.delete(volume)) await this.#save();
  }

  /** One after the other. */
  #save(): Promise<void> {
    const book = {
      format: FORMAT,
      devices: Object.fromEntries(this.#devices),
      engines: Object.fromEntries(this.#engines),
    };
    const text = `${JSON.stringify(book, undefined, 2)}\n`;
    this.#saved = this.#saved.catch(() => undefined).then(() => replaceFile(this.#file, text));
    return this.#saved;
  }
}

function read(name: string, log: (message: string) => void): Pick<z.infer<typeof file>, "devices" | "engines"> {
  try {
    return file.parse(JSON.parse(fs.readFileSync(name, "utf8")));
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") log(`${name} cannot be understood, so it is begun anew: ${error}`);
    return { devices: {}, engines: {} };
  }
}
