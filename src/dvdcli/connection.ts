import net from "node:net";
import type { Endpoint } from "./discovery.ts";

export interface Reply {
  readonly status: number;
  readonly location: string;
  readonly body: string;
}

/** A failure of the transport. `sent`: the request's body had gone out, so it cannot be sent again. */
export class TransportError extends Error {
  constructor(
    message: string,
    readonly sent: boolean,
  ) {
    super(message);
  }
}

/**
 * One keep-alive HTTP/1.1 connection, written by hand: the bytes of a request, their order included, are what the original
 * sends (spec/dvdcli.md 3.2), and loading an HTTP library would cost more than all else here.
 */
export class Connection {
  readonly #endpoint: Endpoint;
  #socket: net.Socket | undefined;

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint;
  }

  async post(path: string, body: string): Promise<Reply> {
    const socket = await this.#connect(path);
    const host = this.#endpoint.socketPath === undefined ? this.#endpoint.label : "";
    const head =
      `POST ${path} HTTP/1.1\r\nHost: ${host}\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: ${Buffer.byteLength(body)}\r\n` +
      `Accept: application/vnd.docker.plugins.v1.2+json\r\n${host === "" ? "" : "Accept-Encoding: gzip\r\n"}\r\n`;
    try {
      return await exchange(socket, head + body, () => this.close());
    } catch (error) {
      this.close();
      const cause = error instanceof Error ? error.message : String(error);
      throw new TransportError(`Post "${this.url(path)}": ${cause}`, body !== "");
    }
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  /** As Go writes it in errors: a socket's path is escaped into the host's place. */
  url(path: string): string {
    const { socketPath, label, tls } = this.#endpoint;
    return `${tls === undefined ? "http" : "https"}://${socketPath === undefined ? label : encodeURIComponent(socketPath)}${path}`;
  }

  async #connect(path: string): Promise<net.Socket> {
    if (this.#socket !== undefined && !this.#socket.destroyed) return this.#socket;
    const { socketPath, host = "", port = 80, tls } = this.#endpoint;
    const secure = tls === undefined ? undefined : await import("node:tls");
    const socket =
      secure !== undefined
        ? secure.connect({ host, port, ...tls, rejectUnauthorized: tls?.verify ?? false, minVersion: "TLSv1.2" })
        : socketPath !== undefined
          ? net.connect(socketPath)
          : net.connect(port, host);
    socket.setNoDelay?.(true);
    try {
      await new Promise<void>((resolve, reject) =>
        socket.once("error", reject).once(secure === undefined ? "connect" : "secureConnect", resolve),
      );
    } catch (error) {
      const words: Record<string, string> = {
        ECONNREFUSED: "connection refused",
        ENOENT: "no such file or directory",
        EACCES: "permission denied",
      };
      const code = (error as NodeJS.ErrnoException).code ?? "";
      const where = socketPath === undefined ? `dial tcp ${host}:${port}` : `dial unix ${socketPath}`;
      throw new TransportError(
        `Post "${this.url(path)}": ${where}: connect: ${words[code] ?? (error as Error).message}`,
        false,
      );
    }
    socket.removeAllListeners("error");
    this.#socket = socket;
    return socket;
  }
}

/** Writes a request and reads one answer, of known length, chunked, or up to the end of the connection. */
function exchange(socket: net.Socket, request: string, ended: () => void): Promise<Reply> {
  return new Promise((resolve, reject) => {
    let received: Buffer = Buffer.alloc(0);
    const settle = (finish: () => void) => {
      socket.removeAllListeners();
      // Errors after the answer are nobody's.
      socket.on("error", () => undefined);
      finish();
    };
    const look = (closed: boolean) => {
      let reply: Reply | undefined | Promise<Reply>;
      try {
        reply = parse(received, closed);
      } catch (error) {
        settle(() => reject(error));
        return;
      }
      if (reply !== undefined) settle(() => resolve(reply));
      else if (closed) settle(() => reject(new Error("EOF")));
    };
    socket.on("data", (data: Buffer) => {
      received = Buffer.concat([received, data]);
      look(false);
    });
    socket.on("error", () => {
      ended();
      look(true);
    });
    socket.on("close", () => {
      ended();
      look(true);
    });
    socket.write(request);
  });
}

/** The answer, when all of it is there. */
function parse(received: Buffer, closed: boolean): Reply | Promise<Reply> | undefined {
  const end = received.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const [statusLine = "", ...lines] = received.toString("latin1", 0, end).split("\r\n");
  const match = /^HTTP\/1\.[01] (\d{3})/.exec(statusLine);
  if (match === null) throw new Error(`malformed HTTP response "${statusLine}"`);
  const headers = new Map(
    lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]),
  );
  const content = received.subarray(end + 4);
  const length = headers.get("content-length");
  const body =
    headers.get("transfer-encoding")?.toLowerCase() === "chunked"
      ? dechunk(content)
      : length !== undefined
        ? content.length >= Number(length)
          ? content.subarray(0, Number(length))
          : undefined
        : closed
          ? content
          : undefined;
  if (body === undefined) return undefined;
  const reply = { status: Number(match[1]), location: headers.get("location") ?? "" };
  if (headers.get("content-encoding") !== "gzip") return { ...reply, body: body.toString() };
  return import("node:zlib").then(({ gunzipSync }) => ({ ...reply, body: gunzipSync(body).toString() }));
}

function dechunk(content: Buffer): Buffer | undefined {
  const parts: Buffer[] = [];
  for (let at = 0; ; ) {
    const line = content.indexOf("\r\n", at);
    if (line < 0) return undefined;
    const size = Number.parseInt(content.toString("latin1", at, line), 16);
    if (Number.isNaN(size)) throw new Error("malformed chunked encoding");
    if (content.length < line + 2 + size + 2) return undefined;
    if (size === 0) return Buffer.concat(parts);
    parts.push(content.subarray(line + 2, line + 2 + size));
    at = line + 2 + size + 2;
  }
}
