import fs from "node:fs";
import t from "tap";
import { IMAGE, startDocker } from "./docker.ts";
import { findLeaks } from "./leaks.ts";
import { requiresDocker } from "./requires.ts";

t.test("a private engine runs containers and leaves nothing", { skip: requiresDocker() }, async (t) => {
  let dir = "";
  await t.test("while it lives", async (t) => {
    const engine = await startDocker(t);
    dir = engine.dir;
    t.equal(await engine.docker("run", "--rm", "--network", "none", IMAGE, "echo", "hello"), "hello");
    const sleeper = ["--detach", "--name", "sleeper", "--network", "none", "--stop-signal", "KILL"];
    await engine.docker("run", ...sleeper, IMAGE, "sleep", "1000");
    await engine.restart("SIGKILL");
    t.match(await engine.docker("ps", "--all", "--format", "{{.Names}}"), "sleeper", "its data outlives it");
    t.not((await engine.run(["volume", "inspect", "none"])).code, 0);
    await engine.docker("start", "sleeper");
  });
  t.same(findLeaks({ dir }), []);
  t.notOk(fs.existsSync(dir));
});

t.test("an engine that was killed leaves nothing either", { skip: requiresDocker() }, async (t) => {
  const engine = await startDocker(t);
  await engine.docker("run", "--detach", "--network", "none", IMAGE, "sleep", "1000");
  await engine.stop("SIGKILL");
  const left = findLeaks({ dir: engine.dir }).map((leak) => leak.what);
  for (const part of ["containerd-shim", "sleep 1000", "overlay"])
    t.ok(
      left.some((what) => what.includes(part)),
      part,
    );
  await engine.destroy();
  t.same(findLeaks({ dir: engine.dir }), []);
});
