import fs from "node:fs";
import path from "node:path";
import { member, text } from "./go-json.ts";

/** Where a plugin answers. */
export interface Endpoint {
  /** How messages name it: the socket's path, or host:port. */
  readonly label: string;
  readonly socketPath?: string;
  readonly host?: string;
  readonly port?: number;
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string; readonly verify: boolean };
}

/** Looking again will not help. */
export class FatalLookupError extends Error {}

export interface PluginDirs {
  readonly sockets: string;
  readonly specs: readonly string[];
}

/**
 * Finds a driver's endpoint (spec/dvdcli.md 3.1): socket, then .spec and .json files, each also in a directory of the
 * driver's name. Throws an Error with the original's words.
 */
export function findPlugin(driver: string, dirs: PluginDirs): Endpoint {
  for (const name of [`${driver}.sock`, path.join(driver, `${driver}.sock`)]) {
    const file = path.join(dirs.sockets, name);
    if (fs.statSync(file, { throwIfNoEntry: false })?.isSocket()) return unixEndpoint(file);
  }
  for (const dir of dirs.specs) {
    for (const extension of [".spec", ".json"]) {
      for (const name of [`${driver}${extension}`, path.join(driver, `${driver}${extension}`)]) {
        const file = path.join(dir, name);
        if (!fs.existsSync(file)) continue;
        const content = fs.readFileSync(file, "utf8");
        return extension === ".spec" ? urlEndpoint(content.trim()) : jsonEndpoint(content);
      }
    }
  }
  throw new Error("plugin not found");
}

function unixEndpoint(file: string): Endpoint {
  if (Buffer.byteLength(file) > 108) throw new FatalLookupError(`Unix socket path "${file}" is too long`);
  return { label: file, socketPath: file };
}

function urlEndpoint(url: string): Endpoint {
  const match = /^([A-Za-z][A-Za-z0-9+.-]*):\/\/([^/?#]*)(.*)$/s.exec(url);
  if (match === null) throw new Error("Unknown protocol");
  const [, scheme = "", authority = "", rest = ""] = match;
  if (scheme.toLowerCase() === "unix") return unixEndpoint(authority + rest);
  const [host = "", port] = authority.split(/:(?=\d+$)/);
  const secure = scheme.toLowerCase() === "https";
  // The original never verifies a certificate that a .spec file led to.
  return {
    label: authority,
    host,
    port: Number(port ?? (secure ? 443 : 80)),
    ...(secure && { tls: { verify: false } }),
  };
}

/** The original reads such a file and crashes; here it works. */
function jsonEndpoint(content: string): Endpoint {
  const spec: unknown = JSON.parse(content);
  const endpoint = urlEndpoint(text(spec, "Addr"));
  const config = member(spec, "TLSConfig");
  if (config === undefined || endpoint.socketPath !== undefined) return endpoint;
  const read = (name: string) => (text(config, name) === "" ? undefined : fs.readFileSync(text(config, name), "utf8"));
  const [ca, cert, key] = [read("CAFile"), read("CertFile"), read("KeyFile")];
  const verify = ca !== undefined && member(config, "InsecureSkipVerify") !== true;
  return { ...endpoint, tls: { verify, ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) } };
}
