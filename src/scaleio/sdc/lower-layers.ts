import { SimError } from "../../lib/errors.ts";
import { CHUNK_BYTES } from "../model.ts";
import { Copies } from "./copies.ts";
import type { Files } from "./files.ts";
import { BIT, INHERITED, SLOTS, type Slot } from "./layout.ts";
import { Ledger } from "./ledger.ts";
import type { EngineStatus, LowerLayer, Session } from "./session.ts";
import { BLOCK_BYTES } from "./sums.ts";

interface Layer {
  readonly copies: Copies;
  states: Uint8Array;
  readonly record: LowerLayer;
}

/**
 * The frozen layers beneath a volume's own one, the nearest first: what a volume has in common with its snapshots. They are
 * read only, by several engines at once; a repair process (repairer.ts) is the only one that changes their copies, and never
 * their content. It may give up a retired copy at any moment, so what is read from one counts only if the ledger still says
 * afterwards that it is good.
 */
export class LowerLayers {
  readonly #files: Files;
  readonly #layers: readonly Layer[];

  /** Throws state_corrupt, state_newer and errno errors of the ledgers. */
  constructor(files: Files, session: Session) {
    this.#files = files;
    const layers: Layer[] = [];
    try {
      for (const record of session.lower) layers.push(this.#open(session, record));
    } catch (error) {
      for (const { copies } of layers) copies.close();
      throw error;
    }
    this.#layers = layers;
  }

  /** Index of the layer that holds the chunk; -1: none does, it reads as zeros. */
  owner(chunk: number): number {
    return this.#layers.findIndex(
      ({ states }) => chunk < states.length && ((states[chunk] as number) & INHERITED) === 0,
    );
  }

  /** Fills into[at, at + length) from a piece of one chunk. Throws unavailable when no good copy can be read. */
  read(chunk: number, into: Buffer, at: number, offset: number, length: number): void {
    const layer = this.#layers[this.owner(chunk)];
    if (layer === undefined) {
      into.fill(0, at, at + length);
      return;
    }
    if (this.#readFrom(layer, chunk, into, at, offset, length)) return;
    this.#lookAgain(layer);
    if (this.#readFrom(layer, chunk, into, at, offset, length)) return;
    if (layer.copies.checksum && this.#readBlocks(layer, chunk, into, at, offset, length)) return;
    throw new SimError(
      "unavailable",
      `chunk ${chunk} of the layer below has no good copy within reach: start the SDS that holds it again`,
    );
  }

  /** Their copies may be in other states now. Throws errno errors of the ledgers. */
  lookAgain(): void {
    for (const layer of this.#layers) this.#lookAgain(layer);
  }

  /** Whether the chunk's piece is zeros. */
  isZero(chunk: number, scratch: Buffer, offset: number, length: number): boolean {
    if (this.owner(chunk) < 0) return true;
    this.read(chunk, scratch, 0, offset, length);
    return scratch.subarray(0, length).equals(ZEROS.subarray(0, length));
  }

  get failures(): number {
    return this.#layers.reduce((sum, { copies }) => sum + copies.failures, 0);
  }

  failed(): EngineStatus["failedDevices"] {
    return this.#layers.flatMap(({ copies }) => copies.failed());
  }

  close(): void {
    for (const { copies } of this.#layers) copies.close();
  }

  /** Each copy may have a bad block, and all of them together none. */
  #readBlocks(layer: Layer, chunk: number, into: Buffer, at: number, offset: number, length: number): boolean {
    for (let done = 0; done < length; ) {
      const n = Math.min(length - done, BLOCK_BYTES - ((offset + done) % BLOCK_BYTES));
      if (!this.#readFrom(layer, chunk, into, at + done, offset + done, n)) return false;
      done += n;
    }
    return true;
  }

  /** Retired copies come after all others of their kind, devices that have failed after those that work. */
  #readFrom(layer: Layer, chunk: number, into: Buffer, at: number, offset: number, length: number): boolean {
    const bad = layer.states[chunk] as number;
    const retired = layer.copies.layout.retired(chunk);
    for (const lastResort of [false, true]) {
      for (const mask of [~retired, retired]) {
        for (const slot of SLOTS) {
          if ((mask & ~bad & BIT[slot]) === 0) continue;
          if (!layer.copies.read(chunk, slot, lastResort, into, at, offset, length)) continue;
          if (mask !== retired || this.#stillGood(layer, chunk, slot)) return true;
        }
      }
    }
    return false;
  }

  /** A repair may have made another copy good meanwhile, in a file that was not there before. */
  #lookAgain(layer: Layer): void {
    layer.copies.openNewFiles();
    layer.states = this.#states(layer.record);
  }

  #open(session: Session, record: LowerLayer): Layer {
    const devices = session.devices.map((device, index) => ({ ...device, file: record.files[index] as string }));
    const copies = new Copies(this.#files, { ...session, sizeBytes: record.sizeBytes, devices });
    try {
      return { copies, states: this.#states(record), record };
    } catch (error) {
      copies.close();
      throw error;
    }
  }

  #states(record: LowerLayer): Uint8Array {
    const chunks = record.sizeBytes / CHUNK_BYTES;
    const ledger = new Ledger(this.#files, record.recordDir, record.id, chunks, { mend: false });
    ledger.close();
    return ledger.states;
  }

  #stillGood({ record }: Layer, chunk: number, slot: Slot): boolean {
    return ((this.#states(record)[chunk] as number) & BIT[slot]) === 0;
  }
}

const ZEROS = Buffer.alloc(CHUNK_BYTES);
