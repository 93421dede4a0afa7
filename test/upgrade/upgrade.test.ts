import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import t from "tap";
import { requiresFuse, requiresTools } from "../helpers/requires.ts";
import { startSim } from "../helpers/sim.ts";
import { waitFor } from "../helpers/wait.ts";

// State that older commits have written (scripts/fixture) is read for ever.
const skip = requiresFuse() || requiresTools("mkfs.xfs", "xz");
/** Records hold absolute paths: a fixture is read where it was made. */
const ROOT = "/tmp/rexray-sim-fixture";
const MARATHON = "http://127.0.0.1:18471";
const FIXTURES = fs.readdirSync(import.meta.dirname).filter((name) => name.endsWith(".tar.xz"));

t.ok(FIXTURES.length > 0);
for (const fixture of FIXTURES) {
  t.test(`${fixture}: everything is as it was left`, { skip, timeout: 120_000 }, async (t) => {
    fs.rmSync(ROOT, { recursive: true, force: true });
    fs.mkdirSync(ROOT);
    t.teardown(() => fs.rmSync(ROOT, { recursive: true, force: true }));
    execFileSync("tar", ["--extract", "--xz", "--file", path.join(import.meta.dirname, fixture), "--directory", ROOT]);
    const sim = await startSim(t, { stateDir: `${ROOT}/state`, env: { REXRAY_SIM_AGENTS: "" } });
    const mount = async (name: string) => {
      const { code, stdout, stderr } = await sim.dvdcli(
        "mount",
        `--volumedriver=${sim.pluginNames[0]}`,
        `--volumename=${name}`,
      );
      t.equal(code, 0, stderr);
      return stdout.trim();
    };

    const plain = await mount("plain");
    const numbers = Array.from({ length: 20_000 }, (_, i) => `${i + 1}\n`).join("");
    t.ok(fs.readFileSync(`${plain}/numbers`, "utf8") === numbers, "what was written");
    t.equal(fs.readFileSync(`${plain}/later`, "utf8"), "later\n", "and what was written after the snapshot");
    fs.writeFileSync(`${plain}/now`, "now");
    const snapshot = await mount("plain-1");
    t.same(fs.readdirSync(snapshot), ["numbers"], "the snapshot has what there was then");
    await mount("xfs");
    t.match(fs.readFileSync("/proc/mounts", "utf8"), `${ROOT}/state/volumes/xfs xfs`);
    const { volumes, health } = await sim.json<{ volumes: { name: string; health: string }[]; health: string }>(
      "status",
    );
    t.same(volumes.map(({ name }) => name).toSorted(), ["app", "plain", "plain-1", "xfs"]);
    t.equal(health, "ok");
    t.match(await sim.json("fault", "ls"), [{ name: "kept", type: "slow", target: "sds-3", attributes: { ms: "1" } }]);
    t.match(
      await sim.json("sds", "ls"),
      [1, 2, 3, 4, 5].map((n) => ({ name: `sds-${n}`, state: "up" })),
    );
    t.equal((await sim.cli("volume", "scan", "plain")).code, 0, "checksums are right");

    const starts = await waitFor(
      () => {
        const [host = ""] = ["agent-1", "agent-2"].filter((name) =>
          fs.existsSync(`${ROOT}/state/hosts/${name}/volumes/app`),
        );
        const text = fs.readFileSync(`${ROOT}/state/hosts/${host}/volumes/app/data/starts`, "utf8");
        return text.split("\n").length > 2 ? text : undefined;
      },
      { what: "the application to be started again, on its data", deadline: 30_000 },
    );
    t.match(starts, /^(old_app\.instance-\S+\n){2,}$/);
    const { app } = (await (await fetch(`${MARATHON}/v2/apps//old/app`)).json()) as { app: Record<string, unknown> };
    t.match(app, { id: "/old/app", cpus: 0.1, instances: 1 });
    for (const name of ["plain", "plain-1", "xfs"])
      await sim.dvdcli("unmount", `--volumedriver=${sim.pluginNames[0]}`, `--volumename=${name}`);
    t.equal((await sim.cli("down")).code, 0);
  });
}
