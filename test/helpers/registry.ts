import { spawn } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import type { Test } from "tap";
import { waitFor } from "./wait.ts";

/** A registry on the loopback address that lasts as long as the test; answers host:port. */
export async function startRegistry(t: Test, dir: string): Promise<string> {
  const port = await new Promise<number>((resolve) => {
    const server = net.createServer().listen(0, "127.0.0.1", () => {
      const { port: free } = server.address() as net.AddressInfo;
      server.close(() => resolve(free));
    });
  });
  const config = path.join(dir, "registry.yml");
  const storage = `storage: {filesystem: {rootdirectory: ${dir}/registry}}`;
  fs.writeFileSync(config, `version: 0.1\nlog: {level: error}\n${storage}\nhttp: {addr: "127.0.0.1:${port}"}\n`);
  const log = fs.openSync(path.join(dir, "registry.log"), "a");
  const registry = spawn("docker-registry", ["serve", config], { stdio: ["ignore", log, log] });
  fs.closeSync(log);
  t.teardown(() => registry.kill("SIGKILL"));
  await waitFor(async () => (await fetch(`http://127.0.0.1:${port}/v2/`)).ok, { what: "the registry" });
  return `127.0.0.1:${port}`;
}
