import fs from "node:fs";
import path from "node:path";
import type { Test } from "tap";
import { output } from "../../helpers/run.ts";
import { waitFor } from "../../helpers/wait.ts";
import { running } from "./load.ts";

const USER = "postgres";

/** A PostgreSQL server of Debian's packages, and how to be its client. */
export interface Postgres {
  /** For {@link running}: the server's user and environment. */
  readonly as: { readonly uid: number; readonly gid: number; readonly env: NodeJS.ProcessEnv };
  /** Runs one command and answers what psql prints. */
  readonly sql: (command: string) => Promise<string>;
  /** As a crash would: it flushes nothing. */
  readonly stop: () => Promise<void>;
}

/** Where a program of the server's package is, which Debian does not put on the search path. */
export function serverTool(name: string): string {
  const [version] = fs.readdirSync("/usr/lib/postgresql");
  return `/usr/lib/postgresql/${version}/bin/${name}`;
}

/** Starts a server with its data below the directory, made anew if there is none, until the test ends. */
export async function startPostgres(t: Test, directory: string): Promise<Postgres> {
  // The server runs as a user of its own, who has to get there.
  for (let parent = directory; parent !== "/"; parent = path.dirname(parent)) {
    const { mode } = fs.statSync(parent);
    if ((mode & 0o111) !== 0o111) fs.chmodSync(parent, mode | 0o111);
  }
  const [uid, gid] = [Number(await output("id", ["-u", USER])), Number(await output("id", ["-g", USER]))];
  const data = path.join(directory, "db");
  const env = { PATH: process.env["PATH"], PGHOST: data, PGUSER: USER, PGDATABASE: "postgres", LC_ALL: "C" };
  const as = { uid, gid, env };
  if (!fs.existsSync(data)) {
    fs.mkdirSync(data, { mode: 0o700 });
    fs.chownSync(data, uid, gid);
    await running(serverTool("initdb"), ["--pgdata", data, "--auth=trust", "--username", USER], as).ended;
  }
  const server = running(serverTool("postgres"), ["-D", data, "-k", data, "-c", "listen_addresses="], as);
  const stop = async () => {
    server.child.kill("SIGQUIT");
    await server.ended.catch(() => undefined);
  };
  t.teardown(stop);
  const sql = (command: string) => running("psql", ["-Atc", command], as).ended;
  await waitFor(() => sql("select 1").catch(() => ""), { what: "the server to answer", deadline: 30_000, every: 100 });
  return { as, sql, stop };
}
