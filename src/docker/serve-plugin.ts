import { chmod, mkdir, rename, rm, stat } from "node:fs/promises";
import http from "node:http";
import net from "node:net";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { SimError } from "../lib/errors.ts";

/** How long running calls may go on when the plugin is closed. */
const FINISH_MS = 5_000;
/** How long a client may take over its request; the engine sends its own at once. */
const REQUEST_MS = 30_000;

export interface PluginSocket {
  readonly path: string;
  /** Whether somebody else listens at it too, systemd: it is there before us and stays when we go. */
  readonly lent: boolean;
  /** Takes the socket away unless it is lent, lets running calls end. */
  close(): Promise<void>;
}

/**
 * Serves a plugin at DIR/NAME.sock, where Docker looks for it. The socket is made under another name and moved into place
 * when it answers, because the engine waits for ever on one that accepts and says nothing (docker-volume-plugin.md 1.8). A
 * socket that a dead run left is taken over; a live one is not: throws in_use.
 *
 * @param fd the socket itself, when systemd listens at it for us
 */
export async function servePlugin({
  app,
  dir,
  name,
  fd,
}: {
  app: http.RequestListener;
  dir: string;
  name: string;
  fd?: number | undefined;
}): Promise<PluginSocket> {
  const socketPath = path.join(dir, `${name}.sock`);
  const server = http.createServer(
    { requireHostHeader: false, keepAliveTimeout: 0, requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS },
    app,
  );
  // Docker keeps connections open between calls; closing one first would make it repeat a call with an empty body.
  server.timeout = 0;
  const takeAway = fd === undefined ? await listenAt(server, socketPath) : await listenOn(server, fd);
  return {
    path: socketPath,
    lent: fd !== undefined,
    async close() {
      await takeAway();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      await Promise.race([closed, pause(FINISH_MS, undefined, { ref: false })]);
      server.closeAllConnections();
    },
  };
}

/** Makes the socket. Answers what takes it away again. */
async function listenAt(server: net.Server, socketPath: string): Promise<() => Promise<void>> {
  const { dir, name } = path.parse(socketPath);
  await mkdir(dir, { recursive: true, mode: 0o755 });
  if (await answers(socketPath)) {
    throw new SimError(
      "in_use",
      `another plugin serves ${socketPath}: stop it (\`systemctl stop rexray-sim.socket\`, if systemd runs it), or choose another name with --plugin-name`,
    );
  }
  const hidden = path.join(dir, `.${name}.${process.pid}`);
  await rm(hidden, { force: true });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(hidden, resolve));
  await chmod(hidden, 0o600);
  await rename(hidden, socketPath);
  const { ino } = await stat(socketPath);

  return async () => {
    // A successor may have put its own socket there.
    const now = await stat(socketPath).catch(() => undefined);
    if (now?.ino === ino) await rm(socketPath, { force: true });
  };
}

/** The socket is there, and callers may wait at it already. It stays for the next daemon. */
async function listenOn(server: net.Server, fd: number): Promise<() => Promise<void>> {
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen({ fd }, resolve));
  return async () => {};
}

/** Whether somebody listens at the path. */
function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(socketPath);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
