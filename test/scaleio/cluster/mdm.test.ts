import fs from "node:fs";
import path from "node:path";
import t from "tap";
import { call } from "../../helpers/plugin-client.ts";
import { requiresFuse, requiresRoot } from "../../helpers/requires.ts";
import { startSim } from "../../helpers/sim.ts";
import { waitFor } from "../../helpers/wait.ts";
import { CONFIG, cli, fio, mountAgain, mountVolume, type Status, status } from "./load.ts";

const skip = requiresRoot() || requiresFuse();

t.test("MDM members down: one costs nothing, two stop changes, I/O goes on", { skip, timeout: 60_000 }, async (t) => {
  const sim = await startSim(t, { config: CONFIG });
  const directory = await mountVolume(sim, "busy", { size: "64MB" });
  const load = fio(directory, 5);
  const told = (event: RegExp) =>
    waitFor(async () => event.test(await cli(sim, "events")), { what: String(event), deadline: 10_000 });
  await cli(sim, "fault", "add", "mdm-down", "mdm-1");
  const { reasons, alerts } = await status(sim);
  t.match(reasons.join(), /MDM member 1 failed: it is down/);
  t.match(alerts, [{ type: "MDM_NOT_CLUSTERED", text: /^MDM member 1: it is down/ }]);
  await told(/MDM_CLUSTER_DEGRADED WARNING The MDM cluster is degraded: member 1: it is down: an injected fault/);
  await call(sim.socket, "Create", { Name: "with-two", Opts: {} });
  await cli(sim, "fault", "add", "mdm-down", "mdm-3");
  await t.rejects(call(sim.socket, "Create", { Name: "with-one", Opts: {} }), /takes no changes/);
  await told(/MDM_CLUSTER_LOST_CONNECTION CRITICAL The MDM cluster takes no changes/);
  await cli(sim, "fault", "reset");
  await told(/MDM_CLUSTER_NORMAL INFO The MDM cluster is whole/);
  await call(sim.socket, "Create", { Name: "with-all", Opts: {} });
  t.equal((await status(sim)).health, "ok");
  t.match(await load.ended, /err= 0/);
  await sim.restart("SIGKILL");
  t.strictSame((await status(sim)).volumes.map(({ name }) => name).sort(), ["busy", "with-all", "with-two"]);
});

t.test(
  "two MDM members lost while nobody looked, and the third is old: nothing is done until a second one is back",
  { skip, timeout: 90_000 },
  async (t) => {
    const sim = await startSim(t, { config: CONFIG });
    const place = (member: number) => path.join(sim.stateDir, "mdm", String(member));
    const directory = await mountVolume(sim, "busy", { size: "64MB" });
    fs.writeFileSync(path.join(directory, "file"), "kept");
    fs.cpSync(place(3), `${place(3)}.old`, { recursive: true });
    // What the old member does not know: an empty volume, and newer maps.
    await call(sim.socket, "Create", { Name: "later", Opts: { size: "64MB" } });
    for (const order of ["stop", "start"]) await cli(sim, "sds", order, "sds-2");
    await waitFor(async () => (await status(sim)).health === "ok", { what: "the health to be ok", deadline: 30_000 });
    const { id } = (await status(sim)).volumes.find(({ name }) => name === "busy") as { id: string };
    const session = path.join(sim.runDir, "sdc", id, "session.json");
    const files = () =>
      fs.readdirSync(sim.stateDir, { recursive: true, encoding: "utf8" }).filter((file) => /\.vol$|ledger/.test(file));

    await sim.kill();
    // The map may have changed until then: a place is freed after the health is ok.
    const before = fs.readFileSync(session, "utf8");
    const stored = files().sort();
    for (const member of [1, 2]) fs.renameSync(place(member), `${place(member)}.away`);
    fs.renameSync(place(3), `${place(3)}.away`);
    fs.renameSync(`${place(3)}.old`, place(3));
    await sim.start();
    const report = await sim.json<Status & { isCurrent: boolean; mdm: { state: string }[] }>("status");
    t.match(report, { isCurrent: false, health: "degraded", volumes: [{ name: "busy" }] });
    t.match(report.reasons[0], /the MDM has no quorum: all that is shown may be old/);
    t.match(await sim.cli("volume", "ls"), { code: 0, stderr: /may be old/ });
    t.match(
      await cli(sim, "events"),
      /MDM_CLUSTER_LOST_CONNECTION CRITICAL the MDM takes no changes, and what it shows may be old/,
    );
    const { Volume } = await call<{ Volume: { Status: { fields: Record<string, string> } } }>(sim.socket, "Get", {
      Name: "busy",
    });
    t.match(Volume.Status.fields["mdm"], /may be old/);
    const words = /member 1: its files are lost.*bring a second one of .*mdm\/1.*copy its directory over/;
    for (const [path, body] of [
      ["Get", { Name: "later" }],
      ["Create", { Name: "new", Opts: {} }],
      ["Mount", { Name: "busy", ID: "other" }],
      ["Unmount", { Name: "busy", ID: "test" }],
      ["Remove", { Name: "busy" }],
    ] as const)
      await t.rejects(call(sim.socket, path, body), words, path);
    for (const args of ["sds stop sds-1", "sds start sds-1", "sds add sds-5", "volume resize busy 128MB"])
      t.match(await sim.cli(...args.split(" ")), { code: 1, stderr: words }, args);
    fs.writeFileSync(path.join(directory, "meanwhile"), "written");
    t.equal(fs.readFileSync(session, "utf8"), before, "the engine goes on by the map it had");
    t.same(files().sort(), stored, "nothing is removed, nor made");

    for (const member of [1, 2]) fs.renameSync(`${place(member)}.away`, place(member));
    // Asked for from the first instant on: what the old state did not know is not made once more.
    const mount = () => mountAgain(sim, "later", "test").catch((error: Error) => error);
    const mounted = await waitFor(
      async () => {
        const answer = await mount();
        return !(answer instanceof Error && /MDM/.test(answer.message)) && answer;
      },
      { what: "the quorum to be found", every: 1 },
    );
    t.type(mounted, "string", String(mounted));
    t.ok((await sim.json<{ isCurrent: boolean }>("status")).isCurrent);
    t.same(files().sort(), stored, "what it is kept in is what there was");
    await waitFor(async () => (await status(sim)).health === "ok", { what: "the health to be ok", deadline: 30_000 });
    await call(sim.socket, "Unmount", { Name: "busy", ID: "test" });
    const again = await mountAgain(sim, "busy", "test");
    t.equal(fs.readFileSync(path.join(again, "file"), "utf8"), "kept");
    t.equal(fs.readFileSync(path.join(again, "meanwhile"), "utf8"), "written");
  },
);
