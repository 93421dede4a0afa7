import fs from "node:fs";
import net from "node:net";
import path from "node:path";

/** What the plugin does with one call: an answer, or a way to misbehave. */
export type Behaviour =
  | { status?: number; body: string; location?: string; chunked?: boolean; afterMs?: number }
  | "drop"
  | "silence";

export interface Request {
  /** All bytes of the request as they came. */
  raw: string;
  /** "Activate", "Get", ... */
  call: string;
  body: string;
}

const letters: Readonly<Record<string, string>> = {
  Activate: "A",
  Get: "G",
  Create: "C",
  Mount: "M",
  Unmount: "U",
  Remove: "R",
  Path: "P",
  List: "L",
};

/**
 * A volume plugin on a raw socket that plays the `fake` of spec/dvdcli.md 7: volumes vol1 (not mounted) and vol2 (mounted),
 * unknown names answer 500. A script can replace the answers of a call, one after the other.
 */
export class FakePlugin {
  readonly requests: Request[] = [];
  readonly #volumes = new Map([
    ["vol1", ""],
    ["vol2", "/mnt/x/vol2"],
  ]);
  readonly #script: Record<string, Behaviour[]>;
  readonly #server: net.Server;
  readonly #sockets = new Set<net.Socket>();

  constructor(script: Record<string, Behaviour | Behaviour[]> = {}) {
    this.#script = Object.fromEntries(
      Object.entries(script).map(([call, todo]) => [call, Array.isArray(todo) ? [...todo] : [todo]]),
    );
    this.#server = net.createServer((socket) => this.#serve(socket));
  }

  listen(where: string | number): Promise<number> {
    if (typeof where === "string") fs.mkdirSync(path.dirname(where), { recursive: true });
    return new Promise((resolve) => {
      const done = () => resolve((this.#server.address() as net.AddressInfo).port);
      if (typeof where === "string") this.#server.listen(where, done);
      else this.#server.listen(where, "127.0.0.1", done);
    });
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }

  /** The calls as letters, as the table writes them. */
  get calls(): string {
    return this.requests.map(({ call }) => letters[call]).join(" ");
  }

  #serve(socket: net.Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => undefined);
    let pending = "";
    socket.setEncoding("utf8").on("data", (data: string) => {
      pending += data;
      for (;;) {
        const end = pending.indexOf("\r\n\r\n");
        const length = Number(/content-length: (\d+)/i.exec(pending)?.[1] ?? 0);
        if (end < 0 || Buffer.byteLength(pending.slice(end + 4)) < length) return;
        const bytes = Buffer.from(pending);
        const size = Buffer.byteLength(pending.slice(0, end + 4)) + length;
        const raw = bytes.toString("utf8", 0, size);
        pending = bytes.toString("utf8", size);
        const call = /^POST \/(?:Plugin|VolumeDriver)\.(\w+) /.exec(raw)?.[1] ?? "?";
        const request = { raw, call, body: raw.slice(end + 4) };
        this.requests.push(request);
        this.#answer(socket, request);
      }
    });
  }

  #answer(socket: net.Socket, request: Request): void {
    const todo = this.#script[request.call];
    // The last behaviour of a script stays, unless it is a drop: that one is meant to be got over.
    const behaviour = todo === undefined ? undefined : todo.length > 1 ? todo.shift() : todo[0];
    const chosen = behaviour ?? this.#normal(request);
    if (chosen === "silence") return;
    if (chosen === "drop") {
      socket.destroy();
      return;
    }
    const { status = 200, body, location, chunked = false, afterMs = 0 } = chosen;
    const head = `HTTP/1.1 ${status} X\r\n${location === undefined ? "" : `Location: ${location}\r\n`}`;
    const text = chunked
      ? `${head}Transfer-Encoding: chunked\r\n\r\n${Buffer.byteLength(body).toString(16)}\r\n${body}\r\n0\r\n\r\n`
      : `${head}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
    setTimeout(() => socket.write(text), afterMs);
  }

  #normal({ call, body }: Request): Behaviour {
    const { Name = "" } = (body === "" ? {} : JSON.parse(body)) as { Name?: string };
    const missing = { status: 500, body: JSON.stringify({ Err: `volume not found: ${Name}` }) };
    if (call === "Activate") return { body: '{"Implements":["VolumeDriver"]}' };
    if (call === "List")
      return { body: JSON.stringify({ Volumes: [...this.#volumes.keys()].map((name) => ({ Name: name })) }) };
    if (call === "Create") {
      this.#volumes.set(Name, "");
      return { body: '{"Err":""}' };
    }
    if (!this.#volumes.has(Name)) return missing;
    if (call === "Get") return { body: JSON.stringify({ Volume: { Name, Mountpoint: this.#volumes.get(Name) } }) };
    if (call === "Mount") return { body: JSON.stringify({ Mountpoint: `/mnt/fake/${Name}` }) };
    if (call === "Path") return { body: JSON.stringify({ Mountpoint: this.#volumes.get(Name) }) };
    return { body: '{"Err":""}' };
  }
}
