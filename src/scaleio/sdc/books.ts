import fs from "node:fs";
import path from "node:path";
import { CHUNK_BYTES, type Id } from "../model.ts";
import { nodeFiles } from "./files.ts";
import { Intent } from "./intent.ts";
import { ALL_SLOTS, COUNT, type Layout } from "./layout.ts";
import { createLedger, Ledger } from "./ledger.ts";

/** The records that the SDC keeps of one volume: ledger and write-intent record, in a directory of their own. */
export const recordDir = (stateDir: string, volumeId: Id): string => path.join(stateDir, "sdc", volumeId);

/** Makes the records of a new volume: all copies that the map wants are good, since they are zeros. What an unfinished creation left under this id is replaced. */
export function createRecords(stateDir: string, volumeId: Id, layout: Layout): void {
  const dir = recordDir(stateDir, volumeId);
  fs.rmSync(dir, { recursive: true, force: true });
  fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
  createLedger(nodeFiles, dir, volumeId, layout.chunks);
  Intent.create(nodeFiles, dir);
  const ledger = new Ledger(nodeFiles, dir, volumeId, layout.chunks);
  let usual = true;
  for (let chunk = 0; chunk < layout.chunks; chunk++) {
    const state = ALL_SLOTS & ~layout.active(chunk);
    if (ledger.states[chunk] !== state) usual = false;
    ledger.states[chunk] = state;
  }
  // A map whose copies have moved is not what an empty ledger says.
  if (!usual) ledger.persist(0, layout.chunks - 1);
  ledger.close();
}

export function removeRecords(stateDir: string, volumeId: Id): void {
  fs.rmSync(recordDir(stateDir, volumeId), { recursive: true, force: true });
}

/** What the records say of an unmounted volume. */
export interface Books {
  /** Per chunk: the stale bits of ledger.ts. */
  readonly states: Uint8Array;
  readonly staleCopies: number;
  /** Chunks that an unclean stop left to be compared. */
  readonly unsyncedChunks: number;
  /** Chunks with a retired slot, whose copy there may still have to be given up. */
  readonly garbage: number;
}

/**
 * Reads them. `attached`: an engine has the volume open and knows better what is unsynced, so only the ledger is looked at.
 * Throws state_corrupt, state_newer, errno errors.
 */
export function readBooks(stateDir: string, volumeId: Id, layout: Layout, attached: boolean): Books {
  const dir = recordDir(stateDir, volumeId);
  const ledger = new Ledger(nodeFiles, dir, volumeId, layout.chunks, { mend: !attached });
  ledger.close();
  let unsyncedChunks = 0;
  if (!attached) {
    const intent = new Intent(nodeFiles, dir, layout.chunks * CHUNK_BYTES);
    unsyncedChunks = intent.activeRegions().length * (intent.regionBytes / CHUNK_BYTES);
    intent.close();
  }
  let [staleCopies, garbage] = [0, 0];
  for (let chunk = 0; chunk < layout.chunks; chunk++) {
    staleCopies += COUNT[(ledger.states[chunk] as number) & layout.active(chunk)] as number;
    if (layout.retired(chunk) !== 0) garbage++;
  }
  return { states: ledger.states, staleCopies, unsyncedChunks, garbage };
}
