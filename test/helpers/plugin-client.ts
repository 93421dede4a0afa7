import http from "node:http";

/** What the plugin answered. */
export interface PluginAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

/** One POST to a plugin socket. */
export interface PluginCall {
  /** An object is sent as Docker sends it, a string as it is; nothing: an empty body, as Activate and retries have. */
  readonly body?: unknown;
  /** Aborting it is Docker giving up: the connection drops. */
  readonly signal?: AbortSignal;
}

/**
 * POSTs to a plugin's Unix socket as Docker does: an empty Host, no Content-Type, a newline after the JSON object
 * (docker-volume-plugin.md 2).
 */
export function post(socketPath: string, path: string, { body, signal }: PluginCall = {}): Promise<PluginAnswer> {
  const text = body === undefined ? "" : typeof body === "string" ? body : `${JSON.stringify(body)}\n`;
  return new Promise((resolve, reject) => {
    const request = http.request({
      socketPath,
      path,
      method: "POST",
      agent: false,
      ...(signal === undefined ? {} : { signal }),
      setHost: false,
      headers: {
        Host: "",
        "User-Agent": "Go-http-client/1.1",
        "Content-Length": Buffer.byteLength(text),
        Accept: "application/vnd.docker.plugins.v1.2+json",
      },
    });
    request.once("error", reject);
    request.once("response", (response) => {
      let answer = "";
      response.setEncoding("utf8").on("data", (part: string) => (answer += part));
      response.once("error", reject);
      response.once("end", () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: answer }),
      );
    });
    request.end(text);
  });
}

/**
 * Calls `VolumeDriver.<operation>` and returns the decoded answer. Throws the text of `Err` where there is one.
 */
export async function call<T = Record<string, unknown>>(
  socketPath: string,
  operation: string,
  body: object = {},
): Promise<T> {
  const answer = await post(socketPath, `/VolumeDriver.${operation}`, { body });
  const decoded = JSON.parse(answer.body) as T & { Err?: string | null };
  if (answer.status !== 200 || decoded.Err) throw new Error(decoded.Err || `HTTP ${answer.status}: ${answer.body}`);
  return decoded;
}
