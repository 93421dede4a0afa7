import path from "node:path";
import type { Database } from "./database.ts";
import { numbersIn } from "./postgres.ts";
import { has, output, Server } from "./process.ts";

/** Redis that writes every command down before it answers. */
export function findRedis(): Database | undefined {
  if (!has("redis-server") || !has("redis-cli")) return undefined;
  let server: Server | undefined;
  let socket = "";
  const cli = (...words: string[]) => output("redis-cli", ["-e", "-s", socket, ...words]);
  return {
    name: "Redis, for want of PostgreSQL (apt-get install postgresql)",
    async start(directory) {
      socket = path.join(directory, "redis.sock");
      const durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""];
      server = new Server("redis-server", ["--port", "0", "--unixsocket", socket, "--dir", directory, ...durable]);
      await server.ready(() => cli("PING"));
    },
    add: async (n) => void (await cli("RPUSH", "numbers", String(n))),
    all: async () => numbersIn(await cli("LRANGE", "numbers", "0", "-1")),
    async stop() {
      await server?.stop();
    },
  };
}
