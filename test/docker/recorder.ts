import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import type { Test } from "tap";

/**
 * A plugin socket that passes every call on to another one and writes down which calls came, in order: "Mount pg", "List".
 * What Docker asks of a plugin is part of the contract (docker-volume-plugin.md 15, rows 28, 31, 32, 34).
 */
export class Recorder {
  readonly #calls: string[] = [];
  readonly #server: http.Server;

  constructor(
    readonly target: string,
    readonly socket: string,
  ) {
    this.#server = http.createServer((request, response) => {
      let body = "";
      request.setEncoding("utf8").on("data", (part: string) => (body += part));
      request.on("end", () => this.#pass(request, body, response));
    });
  }

  async listen(): Promise<void> {
    fs.mkdirSync(path.dirname(this.socket), { recursive: true });
    await new Promise<void>((resolve) => this.#server.listen(this.socket, resolve));
  }

  close(): Promise<unknown> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(resolve));
  }

  /** The calls since the last time of asking, those of the given kinds only. */
  take(...kinds: string[]): string[] {
    const calls = this.#calls.splice(0);
    return kinds.length === 0 ? calls : calls.filter((call) => kinds.includes(call.split(" ")[0] as string));
  }

  #pass(request: http.IncomingMessage, body: string, response: http.ServerResponse): void {
    const operation = (request.url ?? "").split(".").pop() ?? "";
    const name = body === "" ? "" : ((JSON.parse(body) as { Name?: string }).Name ?? "");
    this.#calls.push(`${operation} ${name}`.trim());
    const { url, method, headers } = request;
    const onward = http.request({ socketPath: this.target, path: url, method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(response);
    });
    onward.on("error", () => response.destroy());
    onward.end(body);
  }
}

/** A recorder before `target`, as long as the test. */
export async function record(t: Test, target: string, socket: string): Promise<Recorder> {
  const recorder = new Recorder(target, socket);
  await recorder.listen();
  t.teardown(() => recorder.close());
  return recorder;
}
