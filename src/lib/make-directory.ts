import fs from "node:fs";
import path from "node:path";
import { ensureDirSync } from "fs-extra/esm";
import { syncDirectory } from "./sync-directory.ts";

/** Makes a directory and those above it that are missing, for nobody but us; they survive power loss. One that is there costs nothing. */
export function makeDirectory(directory: string): void {
  const missing: string[] = [];
  for (let dir = path.resolve(directory); !fs.existsSync(dir); dir = path.dirname(dir)) missing.push(dir);
  ensureDirSync(directory, 0o700);
  for (const dir of missing) syncDirectory(path.dirname(dir));
}
