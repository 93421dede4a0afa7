import fs from "node:fs";
import path from "node:path";
import type { Database } from "./database.ts";
import { has, output, Server } from "./process.ts";

const VERSIONS = "/usr/lib/postgresql";

/** PostgreSQL as Debian has it; it refuses to be root, so it runs as its own user. */
export function findPostgres(): Database | undefined {
  const version = fs.existsSync(VERSIONS) ? fs.readdirSync(VERSIONS).at(-1) : undefined;
  if (version === undefined || !has("psql") || !has("setpriv")) return undefined;
  const bin = path.join(VERSIONS, version, "bin");
  const as = (...words: string[]) => ["--reuid=postgres", "--regid=postgres", "--clear-groups", "--", ...words];
  let server: Server | undefined;
  let socket = "";
  const psql = (sql: string) =>
    output("psql", ["-h", socket, "-U", "postgres", "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-qAt", "-c", sql]);
  return {
    name: `PostgreSQL ${version}`,
    async start(directory) {
      const data = path.join(directory, "pg");
      socket = path.join(directory, "socket");
      if (!fs.existsSync(data)) {
        // The volume's root is root's: only what is below is the database's.
        fs.chmodSync(directory, 0o755);
        for (const dir of [data, socket]) {
          fs.mkdirSync(dir, { mode: 0o700 });
          await output("chown", ["postgres", dir]);
        }
        await output("setpriv", as(path.join(bin, "initdb"), "--pgdata", data, "--auth", "trust"));
      }
      server = new Server("setpriv", as(path.join(bin, "postgres"), "-D", data, "-k", socket, "-h", ""));
      await server.ready(() => psql("create table if not exists numbers (n int)"));
    },
    add: async (n) => void (await psql(`insert into numbers values (${n})`)),
    all: async () => numbersIn(await psql("select n from numbers")),
    async stop() {
      await server?.stop();
    },
  };
}

export const numbersIn = (text: string): number[] => text.split("\n").filter(Boolean).map(Number);
