import { spawnSync } from "node:child_process";
import path from "node:path";
import t from "tap";
import { requiresFuse, requiresTools } from "../helpers/requires.ts";
import { run } from "../helpers/run.ts";
import { waitFor } from "../helpers/wait.ts";
import { startWorld } from "./world.ts";

// Debian's Python, not one of the user's: the client is one of its packages.
const PYTHON = "/usr/bin/python3";
const missing = spawnSync(PYTHON, ["-c", "import marathon"]).status !== 0 && "needs python3-marathon";

t.test(
  "curl and jq drive a whole life",
  { skip: requiresFuse() || requiresTools("curl", "jq"), timeout: 120_000 },
  async (t) => {
    const world = await startWorld(t);
    const result = await run("bash", [path.join(import.meta.dirname, "client.sh"), world.marathon, world.mesos]);
    t.equal(result.stderr, "");
    t.match(result, { code: 0, stdout: "done\n" });
  },
);

t.test("python3-marathon drives a whole life", { skip: requiresFuse() || missing, timeout: 120_000 }, async (t) => {
  const world = await startWorld(t);
  const result = await run(PYTHON, [path.join(import.meta.dirname, "client.py"), world.marathon]);
  t.equal(result.stderr, "");
  t.match(result, { code: 0, stdout: "done\n" });
  await waitFor(() => world.mounted().length === 0, { what: "the volume to be given back" });
});
