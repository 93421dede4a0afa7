import fs from "node:fs";
import os from "node:os";
import path from "node:path";

/**
 * A new directory with a short path (Unix sockets must fit below it: 107 bytes) that other users may enter, as
 * PostgreSQL runs as its own. Who makes it removes it.
 */
export function tempDir(prefix: string): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), `${prefix}-`));
  fs.chmodSync(dir, 0o755);
  return dir;
}
