import fs from "node:fs";
import path from "node:path";
import t from "tap";
import { IMAGE, startDocker } from "../helpers/docker.ts";
import { requiresDocker } from "../helpers/requires.ts";
import { type Sim, startSim } from "../helpers/sim.ts";
import { waitFor } from "../helpers/wait.ts";

// Many at once: nothing hangs, counts are right at the end, nothing is left.
const skip = requiresDocker();
const SMALL = "simulator:\n  granularity: 64MB\n";

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i + 1);
const mounted = async (sim: Sim) => {
  const { volumes } = await sim.json<{ volumes: { device: string | null }[] }>("status");
  return volumes.filter(({ device }) => device !== null).length;
};

t.test("many volumes and containers at once", { skip, timeout: 400_000 }, async (t) => {
  const sim = await startSim(t, { config: SMALL });
  const engine = await startDocker(t);
  const docker = (...args: string[]) => engine.docker(...args);
  const start = (name: string, volume: string, command: string, ...more: string[]) =>
    docker(
      "run",
      "--name",
      name,
      "--network",
      "none",
      "--volume",
      `${volume}:/data`,
      ...more,
      IMAGE,
      "sh",
      "-c",
      command,
    );
  const create = (name: string) => docker("volume", "create", "--driver", sim.driver, "--opt", "size=64M", name);

  await t.test("100 volumes are made and removed in parallel", async (t) => {
    await Promise.all(numbers(100).map((n) => create(`v${n}`)));
    t.equal((await docker("volume", "ls", "--quiet")).split("\n").filter(Boolean).length, 100);
    await Promise.all(numbers(100).map((n) => docker("volume", "rm", `v${n}`)));
    t.equal(await docker("volume", "ls", "--quiet"), "");
  });

  await t.test("50 containers start at once, each with a volume of its own", async (t) => {
    await Promise.all(numbers(50).map((n) => create(`own${n}`)));
    const texts = await Promise.all(
      numbers(50).map((n) => start(`c${n}`, `own${n}`, `echo ${n} > /data/f; cat /data/f`, "--rm")),
    );
    t.same(texts, numbers(50).map(String));
    await waitFor(async () => (await mounted(sim)) === 0, { what: "all to be unmounted" });
    await docker("volume", "rm", ...numbers(50).map((n) => `own${n}`));
  });

  await t.test("20 containers on one volume", async (t) => {
    await create("shared");
    // As the README has it: who uses which volume.
    const record = path.join(sim.stateDir, "attachments/shared.json");
    const uses = () => {
      if (!fs.existsSync(record)) return 0;
      const { uses } = JSON.parse(fs.readFileSync(record, "utf8")) as { uses: { count: number }[] };
      return uses.reduce((sum, { count }) => sum + count, 0);
    };
    const users = async () => (await docker("ps", "--all", "--quiet", "--filter", "volume=shared")).match(/\w+/g) ?? [];
    const end = (...names: number[]) => docker("rm", "--force", ...names.map((n) => `s${n}`));
    const append = (n: number) =>
      `i=0; while [ $((i += 1)) -le 100 ]; do echo ${n} $i >> /data/f; done; exec tail -f /dev/null`;
    await Promise.all(numbers(20).map((n) => start(`s${n}`, "shared", append(n), "--detach")));
    t.same([uses(), (await users()).length], [20, 20]);
    const lines = async () => (await docker("exec", "s20", "cat", "/data/f")).split("\n");
    await waitFor(async () => (await lines()).length >= 2000, { what: "all to have written", deadline: 60_000 });
    await end(...numbers(12));
    t.same([uses(), (await users()).length], [8, 8]);
    await Promise.all(
      numbers(20)
        .slice(12)
        .map((n) => end(n)),
    );
    t.same([uses(), await users()], [0, []]);
    t.equal(await mounted(sim), 0, "it is unmounted after the last");
    const kept = (await start("reader", "shared", "cat /data/f", "--rm")).split("\n");
    t.equal(kept.length, 2000);
    for (const n of numbers(20)) {
      const own = kept.filter((line) => line.startsWith(`${n} `));
      t.same(
        own,
        numbers(100).map((i) => `${n} ${i}`),
        `all of ${n}, in order`,
      );
    }
    await waitFor(async () => (await mounted(sim)) === 0, { what: "it to be unmounted after the reader" });
    await docker("volume", "rm", "shared");
  });

  await t.test("the engine is restarted with 20 mounted volumes", async (t) => {
    await Promise.all(
      numbers(20).map(async (n) => {
        await create(`r${n}`);
        const words = ["--detach", "--restart", "always", "--stop-timeout", "1"];
        await start(`r${n}`, `r${n}`, "echo start >> /data/f; sync; exec tail -f /dev/null", ...words);
      }),
    );
    t.equal(await mounted(sim), 20);
    await engine.restart();
    await waitFor(
      async () => {
        const all = await Promise.all(numbers(20).map((n) => engine.run(["exec", `r${n}`, "cat", "/data/f"])));
        return all.every(({ stdout }) => stdout.trim() === "start\nstart");
      },
      { what: "all to be back on their data", deadline: 60_000, every: 500 },
    );
    t.equal(await mounted(sim), 20);
    await docker("rm", "--force", ...numbers(20).map((n) => `r${n}`));
    await waitFor(async () => (await mounted(sim)) === 0, { what: "all to be unmounted" });
    await docker("volume", "rm", ...numbers(20).map((n) => `r${n}`));
  });

  await t.test("the plugin is down while the engine removes a container", async (t) => {
    await create("away");
    await start("away", "away", "exec tail -f /dev/null", "--detach", "--stop-timeout", "1");
    await sim.kill("SIGTERM");
    const began = performance.now();
    await engine.run(["rm", "--force", "away"]);
    t.ok(performance.now() - began < 60_000, "the engine's own limits");
    await sim.start();
    // What the engine could not tell is found out: nobody has it any more.
    await waitFor(async () => (await engine.run(["rm", "--force", "away"])).code === 0, { what: "it to be gone" });
    await waitFor(async () => (await engine.run(["volume", "rm", "away"])).code === 0, {
      what: "the volume to be removed",
      deadline: 60_000,
      every: 500,
    });
    t.equal(await mounted(sim), 0);
  });
});
