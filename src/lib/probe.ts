import http from "node:http";
import https from "node:https";
import net from "node:net";

const HOST = "127.0.0.1";

/** Whether somebody takes connections at a port of this machine: answers what is wrong, undefined when all is well. */
export function probeTcp(port: number, timeoutMs: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = net.connect({ port, host: HOST, timeout: timeoutMs });
    const end = (answer: string | undefined) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", () => end(undefined));
    socket.once("timeout", () => end("timed out"));
    socket.once("error", (error) => end(error.message));
  });
}

export interface HttpAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

export interface HttpProbe {
  readonly port: number;
  readonly path: string;
  readonly tls: boolean;
  readonly timeoutMs: number;
}

/** What a GET at a port of this machine answers. Throws when it does not in time. Certificates are not looked at. */
export function probeHttp({ port, path, tls, timeoutMs }: HttpProbe): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const options = { port, host: HOST, path, agent: false, rejectUnauthorized: false } as const;
    const request = (tls ? https : http).get(options, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (part: string) => {
        body = (body + part).slice(0, MOST_BODY);
      });
      response.once("end", () =>
        end(() =>
          resolve({ status: response.statusCode ?? 0, contentType: response.headers["content-type"] ?? "", body }),
        ),
      );
      response.once("error", (error) => end(() => reject(error)));
    });
    // Over all of it: one that sends a byte now and then is late too.
    const timer = setTimeout(() => request.destroy(new Error("timed out")), timeoutMs);
    const end = (answer: () => void) => {
      clearTimeout(timer);
      answer();
    };
    request.once("error", (error) => end(() => reject(error)));
  });
}

/** Of an answer's body, this much is kept (characters). */
const MOST_BODY = 1024;

/** Health as Marathon and Mesos have it: 200 to 399 is well. */
export async function probeHealth(probe: HttpProbe): Promise<string | undefined> {
  try {
    const { status } = await probeHttp(probe);
    return status >= 200 && status < 400 ? undefined : `HTTP status ${status}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** A look at a port: whether somebody takes connections, or with a path what HTTP answers. */
export type PortProbe =
  | { readonly port: number; readonly timeoutMs: number }
  | { readonly port: number; readonly timeoutMs: number; readonly path: string; readonly tls: boolean };

/** Answers what is wrong, undefined when all is well. */
export const probePort = (probe: PortProbe): Promise<string | undefined> =>
  "path" in probe ? probeHealth(probe) : probeTcp(probe.port, probe.timeoutMs);
