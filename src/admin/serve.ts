import fs from "node:fs/promises";
import http from "node:http";
import type { Express } from "express";
import { SimError } from "../lib/errors.ts";

/** How long a stop waits for answers that are still under way, in milliseconds. */
const CLOSE_LIMIT = 2000;

/** An open admin socket. */
export interface AdminServer {
  /** Takes the socket away; requests under way get their answer. */
  close(): Promise<void>;
}

/**
 * Opens the admin socket for its owner only (mode 0600). A file of a dead run is replaced: the caller holds the lock of
 * the run directory, so it cannot be a live one. Throws host_failed.
 */
export async function serveAdmin(app: Express, socketPath: string): Promise<AdminServer> {
  await fs.rm(socketPath, { force: true });
  const server = http.createServer(app);
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => {
      const message = `cannot open the admin socket ${socketPath}: ${error.message}; choose another --run-dir`;
      reject(new SimError("host_failed", message, { cause: error }));
    });
    server.listen(socketPath, resolve);
  });
  await fs.chmod(socketPath, 0o600);

  return {
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const limit = setTimeout(() => server.closeAllConnections(), CLOSE_LIMIT);
      await closed;
      clearTimeout(limit);
    },
  };
}
