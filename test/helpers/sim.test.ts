import fs from "node:fs";
import t from "tap";
import type { StatusReport } from "../../src/admin/report.ts";
import { findLeaks } from "./leaks.ts";
import { call } from "./plugin-client.ts";
import { requiresFuse } from "./requires.ts";
import { startSim } from "./sim.ts";

t.test(
  "an instance with a mounted volume, whose daemon was killed, is found and goes without a trace",
  {
    skip: requiresFuse(),
  },
  async (t) => {
    let dir = "";
    await t.test("while it lives", async (t) => {
      const sim = await startSim(t, { config: "simulator:\n  granularity: 64MiB\n" });
      dir = sim.dir;
      await call(sim.socket, "Create", { Name: "v", Opts: { size: "8" } });
      const { Mountpoint } = await call<{ Mountpoint: string }>(sim.socket, "Mount", { Name: "v", ID: "a" });
      fs.writeFileSync(`${Mountpoint}/f`, "kept");
      await sim.restart("SIGKILL");
      t.equal(fs.readFileSync(`${Mountpoint}/f`, "utf8"), "kept");
      t.match(await sim.json<StatusReport>("status"), {
        health: "ok",
        volumes: [{ name: "v", mountpoint: Mountpoint }],
      });
      await sim.kill();
      t.ok(findLeaks({ dir }).length > 0, "the volume goes on without the daemon");
    });
    t.same(findLeaks({ dir }), []);
    t.notOk(fs.existsSync(dir));
  },
);
