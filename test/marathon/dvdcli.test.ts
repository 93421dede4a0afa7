import fs from "node:fs";
import path from "node:path";
import t from "tap";
import { requiresFuse } from "../helpers/requires.ts";
import { tempDir } from "../helpers/temp-dir.ts";
import { waitFor } from "../helpers/wait.ts";
import { startWorld, stateful, type World } from "./world.ts";

// What an agent calls dvdcli with, and when: a wrapper in its place writes it down (spec/dvdcli.md 4, spec/marathon.md 10.2).
const skip = requiresFuse();
const DVDCLI = path.resolve(import.meta.dirname, "../../dist/bin/dvdcli.js");

function wrapper(dir: string): { program: string; log: string; calls: () => string[] } {
  const [program, log] = [path.join(dir, "dvdcli"), path.join(dir, "calls")];
  fs.writeFileSync(log, "");
  // What fails is told by files that a test makes.
  const script = [
    "#!/bin/sh",
    `if [ -e "${dir}/fail-$1" ]; then echo "$*" >> "${log}"; echo "no luck" >&2; exit 1; fi`,
    `echo "$*" >> "${log}"`,
    `exec "${DVDCLI}" "$@"`,
  ];
  fs.writeFileSync(program, `${script.join("\n")}\n`, { mode: 0o755 });
  return { program, log, calls: () => fs.readFileSync(log, "utf8").split("\n").filter(Boolean) };
}

const options = (more: Record<string, string>, external: object = {}) => ({
  container: {
    type: "MESOS",
    volumes: [
      {
        containerPath: "data",
        mode: "RW",
        external: { name: "foo", provider: "dvdi", options: { "dvdi/driver": "rexray", ...more }, ...external },
      },
    ],
  },
});
const stop = async (world: World, id: string) => {
  await world.call("DELETE", `/v2/apps${id}`);
  await waitFor(
    async () => world.mounted().length === 0 && (await world.call("GET", "/v2/deployments")).body.length === 0,
    { what: "the volume to be given back" },
  );
};

t.test("dvdcli is called as Mesos does", { skip, timeout: 120_000 }, async (t) => {
  const dir = tempDir("dvdcli");
  t.teardown(() => fs.rmSync(dir, { recursive: true, force: true }));
  const { program, log, calls } = wrapper(dir);
  const world = await startWorld(t, { config: `  dvdcli: ${program}\n` });
  const foo = "--volumedriver=rexray --volumename=foo";
  const cases: [string, Record<string, string>, object, string][] = [
    ["68 no options", {}, {}, `mount ${foo}`],
    ["69 a size", {}, { size: 1 }, `mount ${foo} --volumeopts=size=1`],
    ["70 a size and an option of that name", { "dvdi/size": "2" }, { size: 1 }, `mount ${foo} --volumeopts=size=1`],
    [
      "16 options of others are left out",
      { "foo/x": "1", "dvdi/iops": "100" },
      {},
      `mount ${foo} --volumeopts=iops=100`,
    ],
  ];
  for (const [name, more, external, expected] of cases) {
    await t.test(name, async (t) => {
      fs.writeFileSync(log, "");
      await world.call("POST", "/v2/apps", stateful("/w", "", options(more, external)));
      await world.runs("/w");
      await stop(world, "/w");
      t.same(calls(), [expected, `unmount ${foo}`], "one mount, and one unmount when it has ended");
    });
  }

  await t.test("71 an option that is no size is handed on as it is", async (t) => {
    fs.writeFileSync(log, "");
    // The volume is there already, so that nobody minds.
    await world.call("POST", "/v2/apps", stateful("/w", "", options({ "dvdi/size": "abc" })));
    await world.runs("/w");
    await stop(world, "/w");
    t.same(calls(), [`mount ${foo} --volumeopts=size=abc`, `unmount ${foo}`]);
  });

  await t.test("72 blanks around a value, and a driver that is not ours", async (t) => {
    fs.writeFileSync(log, "");
    // Nobody looks for its socket: that takes a while.
    fs.writeFileSync(path.join(dir, "fail-mount"), "");
    const other = options({ "dvdi/driver": "bar", "dvdi/iops": " 100 " });
    t.equal((await world.call("POST", "/v2/apps", stateful("/w", "", other))).status, 201);
    await waitFor(() => calls().length > 0, { what: "a call" });
    t.equal(calls()[0], "mount --volumedriver=bar --volumename=foo --volumeopts=iops=100");
    fs.writeFileSync(path.join(dir, "fail-unmount"), "");
    await stop(world, "/w");
    for (const name of ["fail-mount", "fail-unmount"]) fs.rmSync(path.join(dir, name));
  });

  await t.test("73 what a task writes lands in the volume, and the next instance sees it", async (t) => {
    const external = { name: "bar", provider: "dvdi", options: { "dvdi/driver": "rexray" } };
    const volumes = [{ containerPath: "data", mode: "RW", external }];
    const container = { type: "MESOS", volumes };
    await world.call(
      "POST",
      "/v2/apps",
      stateful("/x", "", { container, cmd: "echo $MESOS_TASK_ID >> data/x; cat data/x; exec sleep 1000" }),
    );
    const first = await world.runs("/x");
    await world.said(first, new RegExp(`^${first.id}$`, "m"));
    const [mounted = ""] = world.mounted();
    t.equal(fs.readFileSync(path.join(mounted, "data/x"), "utf8"), `${first.id}\n`);
    await world.call("POST", "/v2/apps/x/restart");
    const second = await waitFor(
      async () => (await world.app("/x")).tasks.find(({ id, state }) => id !== first.id && state === "TASK_RUNNING"),
      { what: "the next instance" },
    );
    await world.said(second, new RegExp(`^${first.id}\n${second.id}$`, "m"));
    await stop(world, "/x");
  });

  await t.test(
    "two tasks share a volume: a mount each, one unmount after the second (31 of spec/dvdcli.md)",
    async (t) => {
      fs.writeFileSync(log, "");
      const shared = options({}, { shared: true });
      const pinned = { constraints: [["hostname", "CLUSTER", "agent-2"]] };
      for (const id of ["/a", "/b"]) await world.call("POST", "/v2/apps", stateful(id, "", { ...shared, ...pinned }));
      for (const id of ["/a", "/b"]) await world.runs(id);
      await world.call("DELETE", "/v2/apps/a");
      await waitFor(async () => (await world.call("GET", "/v2/deployments")).body.length === 0, { what: "a to end" });
      t.equal(world.mounted().length, 1, "the second one has it");
      await stop(world, "/b");
      t.same(calls(), [`mount ${foo}`, `mount ${foo}`, `unmount ${foo}`]);
    },
  );

  await t.test("77 a mount that fails is the task's failure; unmount is called all the same", async (t) => {
    fs.writeFileSync(log, "");
    fs.writeFileSync(path.join(dir, "fail-mount"), "");
    await world.call("POST", "/v2/apps", stateful("/w", "", options({})));
    const { message } = await waitFor(async () => (await world.app("/w")).lastTaskFailure, { what: "a failure" });
    t.equal(message, "Failed to launch container: Unexpected termination of the subprocess: no luck\n");
    await waitFor(() => calls().length >= 2, { what: "the clean-up" });
    t.same(calls().slice(0, 2), [`mount ${foo}`, `unmount ${foo}`]);
    fs.rmSync(path.join(dir, "fail-mount"));
    await world.runs("/w");
    await stop(world, "/w");
  });

  await t.test("74 an absolute path that is not there: dvdcli is not called", async (t) => {
    fs.writeFileSync(log, "");
    const absolute = options({});
    (absolute.container.volumes[0] as { containerPath: string }).containerPath = "/nothere";
    await world.call("POST", "/v2/apps", stateful("/w", "", { ...absolute, backoffFactor: 3 }));
    const { message } = await waitFor(async () => (await world.app("/w")).lastTaskFailure, { what: "a failure" });
    t.equal(message, "Failed to launch container: Absolute container path '/nothere' does not exist");
    t.same(calls(), []);
    const left = async () => (await world.call("GET", "/v2/queue")).body.queue[0]?.delay.timeLeftSeconds;
    await waitFor(async () => (await left()) > 1, { what: "a delay that has grown" });
    await world.call("DELETE", "/v2/apps/w");
  });
});
