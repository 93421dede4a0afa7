import fs from "node:fs";
import path from "node:path";
import { makeDirectory } from "../../lib/make-directory.ts";
import { syncDirectory } from "../../lib/sync-directory.ts";
import type { Layer } from "../layers.ts";
import { CHUNK_BYTES, type Id } from "../model.ts";
import { nodeFiles } from "./files.ts";
import { Intent } from "./intent.ts";
import { ALL_SLOTS, COUNT, INHERITED, type Layout } from "./layout.ts";
import { createLedger, Ledger } from "./ledger.ts";

/** The records that the SDC keeps of one volume: ledger and write-intent record, in a directory of their own. */
export const recordDir = (stateDir: string, volumeId: Id): string => path.join(stateDir, "sdc", volumeId);

/** A layer that is about to be made, on the devices that are up now. */
export interface NewLayer {
  readonly id: Id;
  readonly layout: Layout;
  /** The version of the map that the layout goes by. */
  readonly mapVersion: number;
  /** Whether the device gets the layer's file. */
  readonly hasFile: (device: number) => boolean;
  /** How many chunks show through from the layer below. */
  readonly inherited?: number;
}

/** Makes the records of a new layer, which is zeros; they are durable when it returns. What an unfinished creation left under this id is replaced. */
export function createRecords(
  stateDir: string,
  { id: volumeId, layout, mapVersion, hasFile, inherited = 0 }: NewLayer,
): void {
  const dir = recordDir(stateDir, volumeId);
  fs.rmSync(dir, { recursive: true, force: true });
  makeDirectory(dir);
  createLedger(nodeFiles, dir, volumeId, layout.chunks, mapVersion);
  Intent.create(nodeFiles, dir);
  const ledger = new Ledger(nodeFiles, dir, volumeId, layout.chunks);
  let usual = true;
  for (let chunk = 0; chunk < layout.chunks; chunk++) {
    const state = layout.untouched(chunk, hasFile) | (chunk < inherited ? INHERITED : 0);
    if (ledger.states[chunk] !== state) usual = false;
    ledger.states[chunk] = state;
  }
  // A map whose copies have moved is not what an empty ledger says.
  if (!usual) ledger.persist(0, layout.chunks - 1);
  ledger.close();
  syncDirectory(dir);
}

export function removeRecords(stateDir: string, volumeId: Id): void {
  fs.rmSync(recordDir(stateDir, volumeId), { recursive: true, force: true });
}

/** On record, for an unmounted layer: it has more chunks now, which are zeros. */
export function growRecords(
  stateDir: string,
  { id, sizeBytes }: { id: Id; sizeBytes: number },
  { layout, hasFile }: Pick<NewLayer, "layout" | "hasFile">,
): void {
  const ledger = new Ledger(nodeFiles, recordDir(stateDir, id), id, sizeBytes / CHUNK_BYTES);
  ledger.grow(sizeBytes / CHUNK_BYTES, layout.chunks, (chunk) => layout.untouched(chunk, hasFile));
  ledger.close();
}

/** What the records say of an unmounted layer. */
export interface Books {
  /** Per chunk: the stale bits of ledger.ts. */
  readonly states: Uint8Array;
  /** Those that are to be made good. */
  readonly staleCopies: number;
  /** Chunks that an unclean stop left to be compared. */
  readonly unsyncedChunks: number;
  /** Chunks with a retired slot, whose copy there may still have to be given up. */
  readonly garbage: number;
  /** Chunks that have to be copied from layers that are to go. */
  readonly absorbing: number;
}

/**
 * Reads them. `attached`: an engine has the layer open and knows better what is unsynced, so only the ledger is looked at.
 * Throws state_corrupt, state_newer, errno errors.
 */
export function readBooks(
  stateDir: string,
  layer: Pick<Layer, "id" | "lower" | "absorb">,
  layout: Layout,
  attached: boolean,
): Books {
  const dir = recordDir(stateDir, layer.id);
  const ledger = new Ledger(nodeFiles, dir, layer.id, layout.chunks, { mend: !attached });
  ledger.close();
  let unsyncedChunks = 0;
  if (!attached) {
    const intent = new Intent(nodeFiles, dir, layout.chunks * CHUNK_BYTES);
    unsyncedChunks = intent.activeRegions().length * (intent.regionBytes / CHUNK_BYTES);
    intent.close();
  }
  let [staleCopies, garbage] = [0, 0];
  for (let chunk = 0; chunk < layout.chunks; chunk++) {
    staleCopies += COUNT[layout.due(chunk, ledger.states[chunk] as number)] as number;
    if (layout.retired(chunk) !== 0) garbage++;
  }
  const absorbing = attached ? 0 : countAbsorbing(stateDir, layer, ledger.states);
  return { states: ledger.states, staleCopies, unsyncedChunks, garbage, absorbing };
}

/** The states of a layer's chunks, as its ledger has them now. Throws as {@link readBooks}. */
export function layerStates(stateDir: string, { id, sizeBytes }: { id: Id; sizeBytes: number }): Uint8Array {
  const ledger = new Ledger(nodeFiles, recordDir(stateDir, id), id, sizeBytes / CHUNK_BYTES, { mend: false });
  ledger.close();
  return ledger.states;
}

/** Per chunk of a volume: the state of its copies in the layer that holds it; a chunk that no layer holds is good. */
export function effectiveStates(
  stateDir: string,
  layers: readonly { id: Id; sizeBytes: number }[],
  layout: Layout,
): Uint8Array {
  const all = layers.map((layer) => layerStates(stateDir, layer));
  const states = new Uint8Array(layout.chunks);
  for (let chunk = 0; chunk < layout.chunks; chunk++) {
    const holder = all.find((own) => chunk < own.length && ((own[chunk] as number) & INHERITED) === 0);
    states[chunk] = holder === undefined ? ALL_SLOTS & ~layout.active(chunk) : (holder[chunk] as number);
  }
  return states;
}

/** Chunks of one group whose copies are in the same state. */
export interface Alike {
  readonly group: number;
  readonly state: number;
  readonly chunks: number;
}

/** Counts chunks that are alike: there are few groups and states beside chunks. */
export function tally(layout: Layout, states: Uint8Array): Alike[] {
  const kinds = 2 * INHERITED;
  const count = new Uint32Array(layout.groups * kinds);
  for (let chunk = 0; chunk < layout.chunks; chunk++) {
    const at = layout.group(chunk) * kinds + ((states[chunk] as number) & (kinds - 1));
    count[at] = (count[at] as number) + 1;
  }
  const found: Alike[] = [];
  for (let at = 0; at < count.length; at++) {
    const chunks = count[at] as number;
    if (chunks > 0) found.push({ group: Math.floor(at / kinds), state: at % kinds, chunks });
  }
  return found;
}

function countAbsorbing(stateDir: string, { lower, absorb }: Pick<Layer, "lower" | "absorb">, own: Uint8Array): number {
  const going = lower.slice(0, absorb).map((layer) => layerStates(stateDir, layer));
  let count = 0;
  if (going.length === 0) return count;
  for (let chunk = 0; chunk < own.length; chunk++) {
    if (((own[chunk] as number) & INHERITED) === 0) continue;
    if (going.some((states) => chunk < states.length && ((states[chunk] as number) & INHERITED) === 0)) count++;
  }
  return count;
}
