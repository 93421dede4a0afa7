import path from "node:path";
import t from "tap";
import { IMAGE, startDocker } from "../helpers/docker.ts";
import { commandsOf } from "../helpers/readme.ts";
import { requiresDocker } from "../helpers/requires.ts";
import { run } from "../helpers/run.ts";
import { startSim } from "../helpers/sim.ts";

// The README's tour, line by line, as its reader types it; only names and places are the test's own.
const skip = requiresDocker();
const ROOT = path.resolve(import.meta.dirname, "../..");

t.test("the tour works as it is written", { skip, timeout: 280_000 }, async (t) => {
  const sim = await startSim(t);
  const engine = await startDocker(t);
  await engine.docker("tag", IMAGE, "busybox:latest");
  const commands = commandsOf("A tour of five minutes").map((line) =>
    line
      .replaceAll("-d rexray-sim", `-d ${sim.driver}`)
      .replaceAll("--volumedriver=rexray ", `--volumedriver=${sim.driver} `)
      .replaceAll("/var/lib/rexray-sim", sim.stateDir),
  );
  t.ok(commands.length > 15, `${commands.length} commands`);
  const script = [
    `rexray-sim() { ${process.execPath} ${ROOT}/dist/bin/rexray-sim.js "$@"; }`,
    `dvdcli() { ${process.execPath} ${ROOT}/dist/bin/dvdcli.js "$@"; }`,
    // The test's engine has no bridge.
    'docker() { if [ "$1" = run ]; then shift; command docker run --network none "$@"; else command docker "$@"; fi; }',
    // Not every kernel lets a mounted ext4 grow (README, Limits); the command says so.
    ...commands.map((line) => (line.includes("volume resize") ? line.replace(" #", " || [ $? = 1 ] #") : line)),
  ];
  const env = { ...sim.env, ...engine.env };
  const { code, stdout, stderr } = await run("bash", ["-e", "-c", script.join("\n")], { env, timeout: 200_000 });
  t.equal(code, 0, stderr);
  t.match(stdout, /^hi$/m);
  t.match(stdout, /degraded/);
});
