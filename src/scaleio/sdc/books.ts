import fs from "node:fs";
import path from "node:path";
import { CHUNK_BYTES, type Id } from "../model.ts";
import { nodeFiles } from "./files.ts";
import { Intent } from "./intent.ts";
import { createLedger, Ledger } from "./ledger.ts";

/** The records that the SDC keeps of one volume: ledger and write-intent record, in a directory of their own. */
export const recordDir = (stateDir: string, volumeId: Id): string => path.join(stateDir, "sdc", volumeId);

/** Makes the records of a new volume. What an unfinished creation left under this id is replaced. */
export function createRecords(stateDir: string, volumeId: Id, sizeBytes: number): void {
  const dir = recordDir(stateDir, volumeId);
  fs.rmSync(dir, { recursive: true, force: true });
  fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
  createLedger(nodeFiles, dir, volumeId, sizeBytes / CHUNK_BYTES);
  Intent.create(nodeFiles, dir);
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
}

/**
 * Reads them. `attached`: an engine has the volume open and knows better what is unsynced, so only the ledger is looked at.
 * Throws state_corrupt, state_newer, errno errors.
 */
export function readBooks(stateDir: string, volumeId: Id, sizeBytes: number, attached: boolean): Books {
  const dir = recordDir(stateDir, volumeId);
  const ledger = new Ledger(nodeFiles, dir, volumeId, sizeBytes / CHUNK_BYTES, { mend: !attached });
  ledger.close();
  let unsyncedChunks = 0;
  if (!attached) {
    const intent = new Intent(nodeFiles, dir, sizeBytes);
    unsyncedChunks = intent.activeRegions().length * (intent.regionBytes / CHUNK_BYTES);
    intent.close();
  }
  let staleCopies = 0;
  for (const state of ledger.states) if (state !== 0) staleCopies += state === 3 ? 2 : 1;
  return { states: ledger.states, staleCopies, unsyncedChunks };
}
