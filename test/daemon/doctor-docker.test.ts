import fs from "node:fs";
import t from "tap";
import type { Finding } from "../../src/cli/finding.ts";
import { startDocker } from "../helpers/docker.ts";
import { requiresDocker } from "../helpers/requires.ts";
import { type Sim, startSim } from "../helpers/sim.ts";
import { tempDir } from "../helpers/temp-dir.ts";

const config = "simulator: { granularity: 64MB, deviceSize: 1GB, sds: 3 }\n";

async function aboutDocker(sim: Sim): Promise<{ code: number; findings: Finding[] }> {
  const { code, stdout } = await sim.cli("doctor", "--json");
  const { checks } = JSON.parse(stdout) as { checks: Finding[] };
  return { code, findings: checks.filter(({ name }) => name === "docker" || name === "plugin") };
}

t.test("doctor asks a real engine", { skip: requiresDocker() }, async (t) => {
  const { env, socket } = await startDocker(t);

  // First, because a driver that the engine has met and that has gone costs every later look-up 15 s.
  t.test("a socket where Docker does not look is a failure with the fix", async (t) => {
    const pluginDir = tempDir("rxs-plugins");
    t.teardown(() => fs.rmSync(pluginDir, { recursive: true }));
    const sim = await startSim(t, { config, env, pluginDir });
    const { code, findings } = await aboutDocker(sim);
    t.match(findings, [{ state: "ok" }, { state: "failed", fix: /\/etc\/docker\/plugins\/rxs-.*\.spec/ }]);
    t.equal(code, 1);
  });

  t.test("an engine that has not used the plugin yet is made to look for it", async (t) => {
    const sim = await startSim(t, { config, env });
    const { code, findings } = await aboutDocker(sim);
    t.match(findings, [
      { name: "docker", state: "ok", detail: `answers at unix://${socket}` },
      { name: "plugin", state: "ok", detail: `Docker sees the volume driver ${sim.driver}` },
    ]);
    t.equal(code, 0);
  });
});
