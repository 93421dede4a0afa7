import { Connection, type Reply, TransportError } from "./connection.ts";
import { type Endpoint, FatalLookupError, findPlugin, type PluginDirs } from "./discovery.ts";
import { decodeFirst, encode, member, text } from "./go-json.ts";
import type { Log } from "./log.ts";

/** Pauses between attempts, in seconds; the next one would pass the original's limit of 30 s. */
const PAUSES = [1, 2, 4, 8];

export interface Surroundings {
  readonly dirs: PluginDirs;
  readonly log: Log;
  readonly pause: (seconds: number) => Promise<void>;
}

/** A volume as Get answers it. */
export interface Volume {
  readonly name: string;
  readonly mountpoint: string;
}

/** A driver that was found and has introduced itself: the calls of the volume plugin protocol. */
export class Plugin {
  readonly #connection: Connection;
  readonly #around: Surroundings;
  readonly #endpoint: Endpoint;

  private constructor(endpoint: Endpoint, around: Surroundings) {
    this.#endpoint = endpoint;
    this.#connection = new Connection(endpoint);
    this.#around = around;
  }

  /** Throws an Error with the last reason once all attempts have failed. */
  static async find(driver: string, around: Surroundings): Promise<Plugin> {
    const plugin = new Plugin(await locate(driver, around), around);
    const answer = decode("Plugin.Activate", await plugin.#call("Plugin.Activate", ""), around.log);
    const implemented = member(answer, "Implements");
    if (Array.isArray(implemented) && implemented.includes("VolumeDriver")) return plugin;
    plugin.close();
    throw new Error("Plugin does not implement the requested driver");
  }

  async get(name: string): Promise<Volume> {
    const volume = member(await this.#ask("Get", { Name: name }), "Volume");
    if (volume === undefined) throw new Error("no such volume");
    return { name: text(volume, "Name"), mountpoint: text(volume, "Mountpoint") };
  }

  async create(name: string, options: Readonly<Record<string, string>>): Promise<void> {
    const sorted = Object.fromEntries(Object.entries(options).sort(([a], [b]) => (a < b ? -1 : 1)));
    await this.#ask("Create", { Name: name, Opts: sorted });
  }

  async mount(name: string): Promise<string> {
    return text(await this.#ask("Mount", { Name: name }), "Mountpoint");
  }

  async unmount(name: string): Promise<void> {
    await this.#ask("Unmount", { Name: name });
  }

  async remove(name: string): Promise<void> {
    await this.#ask("Remove", { Name: name });
  }

  /** The original shows what came back whatever else came with it, and nothing on any error. */
  async path(name: string): Promise<string> {
    try {
      const reply = await this.#call("VolumeDriver.Path", `${encode({ Name: name })}\n`);
      return text(decodeFirst(reply.body), "Mountpoint");
    } catch {
      return "";
    }
  }

  async list(): Promise<unknown[]> {
    const volumes = member(await this.#ask("List", {}), "Volumes");
    return Array.isArray(volumes) ? volumes : [];
  }

  close(): void {
    this.#connection.close();
  }

  async #ask(method: string, body: unknown): Promise<unknown> {
    const name = `VolumeDriver.${method}`;
    const answer = decode(name, await this.#call(name, `${encode(body)}\n`), this.#around.log);
    const error = text(answer, "Err");
    if (error !== "") throw new Error(error);
    return answer;
  }

  /** A call with its attempts. Only failures of the transport are tried again; a body that has gone out is not sent twice. */
  async #call(method: string, body: string): Promise<Reply> {
    let spent = false;
    for (const seconds of [...PAUSES, undefined]) {
      try {
        if (spent) {
          const why = `http: ContentLength=${Buffer.byteLength(body)} with Body length 0`;
          throw new TransportError(`Post "${this.#connection.url(`/${method}`)}": ${why}`, true);
        }
        return checked(method, await this.#follow(method, body));
      } catch (error) {
        if (!(error instanceof TransportError) || seconds === undefined) throw error;
        spent = error.sent;
        this.#around.log.line(
          "warning",
          `Unable to connect to plugin: ${this.#endpoint.label}:/${method}, retrying in ${seconds}s`,
        );
        await this.#around.pause(seconds);
      }
    }
    throw new Error("unreachable");
  }

  async #follow(method: string, body: string): Promise<Reply> {
    let path = `/${method}`;
    for (let hop = 0; hop < 10; hop++) {
      const reply = await this.#connection.post(path, body);
      if (![307, 308].includes(reply.status) || reply.location === "") return reply;
      path = reply.location.replace(/^[a-z]+:\/\/[^/]*/i, "") || "/";
    }
    throw new Error("stopped after 10 redirects");
  }
}

async function locate(driver: string, { dirs, log, pause }: Surroundings): Promise<Endpoint> {
  for (const seconds of [...PAUSES, undefined]) {
    try {
      return findPlugin(driver, dirs);
    } catch (error) {
      if (error instanceof FatalLookupError || seconds === undefined) throw error;
      log.line("warning", `Unable to locate plugin: ${driver}, retrying in ${seconds}s`);
      await pause(seconds);
    }
  }
  throw new Error("unreachable");
}

/** Only 200 is success; else the error is the answer's Err, or its whole body. */
function checked(method: string, reply: Reply): Reply {
  if (reply.status === 200) return reply;
  let words = "";
  try {
    words = text(decodeFirst(reply.body), "Err");
  } catch {
    // Not the protocol's own form: the body is shown as it is.
  }
  throw new Error(`${method}: ${words || reply.body}`);
}

function decode(method: string, reply: Reply, log: Log): unknown {
  try {
    const answer = decodeFirst(reply.body);
    for (const key of ["Mountpoint", "Err"]) text(answer, key);
    return answer;
  } catch (error) {
    log.line("error", `${method}: error reading plugin resp: ${(error as Error).message}`);
    throw error;
  }
}
