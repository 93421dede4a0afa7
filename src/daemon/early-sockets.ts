import type http from "node:http";
import path from "node:path";
import { servePlugin } from "../docker/serve-plugin.ts";
import type { Dirs } from "../lib/dirs.ts";
import { PLUGIN_NAMES } from "./daemon.ts";
import type { PluginSocket } from "./parts.ts";
import { refusalApp } from "./refuse.ts";

/** A socket that is there, and who will answer at it. */
interface Early {
  readonly socket: PluginSocket;
  readonly answer: (app: http.RequestListener) => void;
}

/**
 * The sockets of a managed plugin, which are there before the daemon is: Docker disables a plugin at whose socket nobody listens
 * after some seconds, also when it starts (docker-volume-plugin.md 13.3), and takes its volumes for gone then. Callers wait until
 * the daemon has started, or is known not to.
 */
export class EarlySockets {
  readonly #dirs: Dirs;
  /** By their paths, until somebody answers. */
  readonly #waiting = new Map<string, Early>();

  private constructor(dirs: Dirs) {
    this.#dirs = dirs;
  }

  /** Throws in_use when somebody else serves them. */
  static async listen(dirs: Dirs): Promise<EarlySockets> {
    const sockets = new EarlySockets(dirs);
    for (const name of PLUGIN_NAMES) {
      const { promise, resolve: answer } = withResolvers<http.RequestListener>();
      const app: http.RequestListener = (request, response) => void promise.then((known) => known(request, response));
      const socket = await servePlugin({ app, dir: dirs.pluginDir, name });
      sockets.#waiting.set(socket.path, { socket, answer });
    }
    return sockets;
  }

  get paths(): string[] {
    return [...this.#waiting.keys()];
  }

  /** Has the app answer at the socket, which is the caller's from now on. Undefined: it is none of these. */
  take(file: string, app: http.RequestListener): PluginSocket | undefined {
    const early = this.#waiting.get(file);
    this.#waiting.delete(file);
    early?.answer(app);
    return early?.socket;
  }

  /** There is no daemon, because of this error: whoever calls is told so. Answers the sockets. */
  refuse(error: unknown): Promise<PluginSocket[]> {
    const { pluginDir } = this.#dirs;
    const app = refusalApp(this.#dirs, error);
    // A daemon that has failed late has closed what it had taken.
    const answered = async (name: string) =>
      this.take(path.join(pluginDir, `${name}.sock`), app) ?? servePlugin({ app, dir: pluginDir, name });
    return Promise.all(PLUGIN_NAMES.map(answered));
  }
}

function withResolvers<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((settle) => (resolve = settle));
  return { promise, resolve };
}
