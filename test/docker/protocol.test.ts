import fs from "node:fs";
import http from "node:http";
import net from "node:net";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import t from "tap";
import { call, post } from "../helpers/plugin-client.ts";
import { requiresFuse, requiresRoot } from "../helpers/requires.ts";
import { pluginName, type Sim, startSim } from "../helpers/sim.ts";
import { waitFor } from "../helpers/wait.ts";

// Rows of docker-volume-plugin.md 15 that need no engine, against the running product over its socket.
const skip = requiresRoot() || requiresFuse();
const CONFIG =
  "simulator:\n  granularity: 64MB\nlibstorage:\n  integration:\n    volume:\n      operations:\n        create: {default: {size: 64MB}}\n";

const names = async (sim: Sim) =>
  (await call<{ Volumes: { Name: string }[] }>(sim.socket, "List")).Volumes.map(({ Name }) => Name);
const error = async (sim: Sim, operation: string, body: unknown) => {
  const answer = await post(sim.socket, `/VolumeDriver.${operation}`, { body });
  return { status: answer.status, err: (JSON.parse(answer.body) as { Err: string }).Err };
};
const loops = (sim: Sim) =>
  fs.readdirSync("/sys/block").filter((name) => {
    const file = `/sys/block/${name}/loop/backing_file`;
    return fs.existsSync(file) && fs.readFileSync(file, "utf8").startsWith(sim.dir);
  }).length;
const mounts = (sim: Sim) =>
  fs
    .readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => line.includes(` ${sim.stateDir}/volumes/`)).length;

t.test("protocol", { skip, timeout: 120_000 }, async (t) => {
  const sim = await startSim(t, { config: CONFIG });

  await t.test("1 Activate with an empty body names the interface", async (t) => {
    const { status, headers, body } = await post(sim.socket, "/Plugin.Activate");
    t.equal(status, 200);
    t.equal(headers["content-type"], "application/vnd.docker.plugins.v1.2+json");
    t.same(JSON.parse(body), { Implements: ["VolumeDriver"] });
  });

  await t.test("2 Activate is answered while the nodes are down", async (t) => {
    const nodes = ["sds-1", "sds-2", "sds-3", "sds-4"];
    for (const node of nodes) t.equal((await sim.cli("sds", "stop", node)).code, 0);
    t.equal((await post(sim.socket, "/Plugin.Activate")).status, 200);
    t.match(await error(sim, "Create", { Name: "v" }), { err: /sds/i });
    t.same(await names(sim), []);
    for (const node of nodes) t.equal((await sim.cli("sds", "start", node)).code, 0);
  });

  await t.test("3, 16, 17 create without a content type, with any kind of options; List and Get show it", async (t) => {
    for (const [name, Opts] of [
      ["plain", null],
      ["empty", {}],
      ["sized", { size: "128MB" }],
    ] as const) {
      await call(sim.socket, "Create", { Name: name, Opts });
      const { Volume } = await call<{ Volume: Record<string, unknown> }>(sim.socket, "Get", { Name: name });
      t.equal(Volume["Name"], name);
      t.equal(Volume["Mountpoint"], "");
      t.match(Volume["CreatedAt"], /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/, "23 RFC 3339");
      t.type(Volume["Status"], "object", "24 Status is an object");
    }
    t.same((await names(sim)).sort(), ["empty", "plain", "sized"]);
  });

  await t.test("4 an empty body is an error and changes nothing", async (t) => {
    const before = await names(sim);
    for (const operation of ["Create", "Mount", "Get", "Remove", "Unmount", "Path"]) {
      const { status, body } = await post(sim.socket, `/VolumeDriver.${operation}`);
      t.equal(status, 500, operation);
      t.match(JSON.parse(body).Err, /Name is missing|Name must be/);
    }
    t.same(await names(sim), before);
  });

  await t.test("5 bodies that are no JSON or of wrong types get an error in JSON", async (t) => {
    for (const body of [
      "{",
      "[]",
      '"x"',
      '{"Name":5}',
      '{"Name":"x","Opts":"y"}',
      '{"Name":"x","Opts":{"size":5}}',
      '{"Name":""}',
    ]) {
      const { status, body: answer } = await post(sim.socket, "/VolumeDriver.Create", { body });
      t.not(status, 200, body);
      t.type(JSON.parse(answer).Err, "string");
    }
    t.notOk((await names(sim)).includes("x"));
  });

  await t.test("6, 11 any Host and any Accept are fine", async (t) => {
    for (const headers of [{ Host: "" }, { Host: "plugin.moby.localhost", Accept: "text/html" }]) {
      const status = await new Promise((resolve, reject) => {
        http
          .request({ socketPath: sim.socket, path: "/Plugin.Activate", method: "POST", headers }, (response) =>
            resolve(response.resume().statusCode),
          )
          .once("error", reject)
          .end();
      });
      t.equal(status, 200);
    }
  });

  await t.test("7, 8 unknown paths and other methods answer JSON", async (t) => {
    const { status, body } = await post(sim.socket, "/VolumeDriver.Nope");
    t.equal(status, 404);
    t.match(JSON.parse(body).Err, /VolumeDriver\.Nope/);
    const got = await new Promise<number | undefined>((resolve) => {
      http.get({ socketPath: sim.socket, path: "/VolumeDriver.List" }, (response) =>
        resolve(response.resume().statusCode),
      );
    });
    t.equal(got, 404);
  });

  await t.test("9 an idle connection is not closed by the plugin", async (t) => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const ask = () =>
      new Promise<number | undefined>((resolve, reject) => {
        http
          .request({ socketPath: sim.socket, path: "/Plugin.Activate", method: "POST", agent }, (response) =>
            response.resume().once("end", () => resolve(response.statusCode)),
          )
          .once("error", reject)
          .end();
      });
    t.equal(await ask(), 200);
    await pause(7000);
    t.equal(await ask(), 200);
    agent.destroy();
  });

  await t.test("10 fifty at once are answered", async (t) => {
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => post(sim.socket, "/VolumeDriver.Get", { body: { Name: "plain" } })),
    );
    t.ok(answers.every(({ status }) => status === 200));
  });

  await t.test("18 create again with other options keeps the first size", async (t) => {
    const before = await call(sim.socket, "Get", { Name: "sized" });
    await call(sim.socket, "Create", { Name: "sized", Opts: { size: "256MB" } });
    t.same(await call(sim.socket, "Get", { Name: "sized" }), before);
  });

  await t.test("19 sizes that are none, and options that are unknown, leave nothing behind", async (t) => {
    for (const [key, value] of [
      ["size", "abc"],
      ["size", "0"],
      ["size", "-1"],
      ["size", "1.5"],
      ["size", "16xb"],
      ["size", "900T"],
      ["size", ""],
      ["bogus", "1"],
      ["newfstype", "ntfs"],
      ["iops", "-1"],
    ] as const) {
      const { status, err } = await error(sim, "Create", { Name: "bad", Opts: { [key]: value } });
      t.equal(status, 500, `${key}=${value}`);
      t.match(err, /^docker-legacy: Create: bad: failed: ./);
    }
    t.notOk((await names(sim)).includes("bad"));
    for (const value of ["64m", "64MB", "64MiB", "64mib"])
      await call(sim.socket, "Create", { Name: `unit-${value}`, Opts: { SIZE: value } });
  });

  await t.test("20 names that would leave the directory, and others", async (t) => {
    const outside = fs.readdirSync(sim.dir);
    for (const name of ["../x", "a/b", "A B", "new\nline", "nul\0", ".", "..", "x".repeat(300)]) {
      t.match(
        (await error(sim, "Create", { Name: name })).err,
        /invalid volume name/,
        JSON.stringify(name.slice(0, 20)),
      );
      t.match((await error(sim, "Mount", { Name: name })).err, /invalid volume name/);
    }
    t.same(fs.readdirSync(sim.dir), outside);
  });

  await t.test("21, 29, 41 what is unknown: Get fails, Remove and Unmount succeed", async (t) => {
    t.match((await error(sim, "Get", { Name: "none" })).err, /not found/);
    await call(sim.socket, "Remove", { Name: "none" });
    await call(sim.socket, "Unmount", { Name: "none", ID: "A" });
    await call(sim.socket, "Unmount", { Name: "plain", ID: "A" });
    await call(sim.socket, "Unmount", { Name: "plain" });
    t.same(await call(sim.socket, "Path", { Name: "none" }), { Mountpoint: "", Err: "" });
  });

  await t.test("35 Mount answers an absolute, empty, writable directory", async (t) => {
    const { Mountpoint } = await call<{ Mountpoint: string }>(sim.socket, "Mount", { Name: "plain", ID: "A" });
    t.ok(path.isAbsolute(Mountpoint));
    t.same(fs.readdirSync(Mountpoint), []);
    fs.writeFileSync(path.join(Mountpoint, "f"), "x");
    t.same(await call(sim.socket, "Path", { Name: "plain" }), { Mountpoint, Err: "" });
    t.match((await error(sim, "Remove", { Name: "sized" })).err ?? "", "", "another volume can be removed meanwhile");
    await call(sim.socket, "Unmount", { Name: "plain", ID: "A" });
    t.equal(loops(sim), 0);
  });

  await t.test("a volume begins as the volume or snapshot that an option names, by name or by id", async (t) => {
    const idOf = async (name: string) =>
      (await call<{ Volume: { Status: { fields: { scaleioId: string } } } }>(sim.socket, "Get", { Name: name })).Volume
        .Status.fields.scaleioId;
    t.equal((await sim.cli("snapshot", "create", "plain=frozen")).code, 0);
    const [volumeID, snapshotID] = [await idOf("plain"), await idOf("frozen")];
    const sources = { volumeName: "plain", volumeID, snapshotName: "frozen", snapshotID };
    for (const [option, source] of Object.entries(sources)) {
      const Name = `by-${option}`;
      await call(sim.socket, "Create", { Name, Opts: { [option]: source } });
      const { Mountpoint } = await call<{ Mountpoint: string }>(sim.socket, "Mount", { Name, ID: "A" });
      t.equal(fs.readFileSync(path.join(Mountpoint, "f"), "utf8"), "x", option);
      await call(sim.socket, "Unmount", { Name, ID: "A" });
      const none = await error(sim, "Create", { Name: "bad", Opts: { [option]: "none" } });
      t.match(none.err, /bad cannot be made from "none": no volume or snapshot has that name or id/);
    }
    t.match((await error(sim, "Create", { Name: "bad", Opts: sources })).err, /name two sources: give one/);
    for (const [option, value, words] of [
      ["type", "none", /bad cannot be made from plain in pool "none": .* is in its pool, pool1/],
      ["fstype", "xfs", /bad cannot be made from plain with xfs: it begins with the file system of its source, ext4/],
      ["iops", "5", /a limit of 5 IOPS is too low/],
      ["size", "1MB", /bad cannot be made from plain with \d+ bytes/],
    ] as const)
      t.match((await error(sim, "Create", { Name: "bad", Opts: { volumeName: "plain", [option]: value } })).err, words);
    // Limits are of a volume that is mapped, not of its data.
    t.equal((await sim.cli("volume", "limit", "plain", "--iops", "500", "--bandwidth", "5")).code, 0);
    const limits = { volumeName: "plain", type: "pool1", fstype: "ext4" };
    await call(sim.socket, "Create", { Name: "unlimited", Opts: limits });
    await call(sim.socket, "Create", { Name: "limited", Opts: { ...limits, iops: "700" } });
    const limitsOf = async (name: string) => {
      const { iops, bytesPerSecond } = await sim.json<Record<string, number>>("volume", "inspect", name);
      return [iops, bytesPerSecond];
    };
    t.same(await limitsOf("plain"), [500, 5 * 1024 * 1024]);
    t.same(await limitsOf("unlimited"), [0, 0]);
    t.same(await limitsOf("limited"), [700, 0]);
    await sim.cli("volume", "limit", "plain", "--iops", "0", "--bandwidth", "0");
    t.notOk((await names(sim)).includes("bad"));
  });

  await t.test("38 two mounts of a new volume at one instant: one device, one file system, two uses", async (t) => {
    await call(sim.socket, "Create", { Name: "both" });
    const [one, two] = await Promise.all(
      ["A", "B"].map((ID) => call<{ Mountpoint: string }>(sim.socket, "Mount", { Name: "both", ID })),
    );
    t.equal(one?.Mountpoint, two?.Mountpoint);
    t.equal(loops(sim), 1);
    await call(sim.socket, "Unmount", { Name: "both", ID: "A" });
    t.equal(mounts(sim), 1);
    await call(sim.socket, "Unmount", { Name: "both", ID: "B" });
    t.equal(mounts(sim), 0);
    t.equal(loops(sim), 0);
  });

  await t.test("43 a caller that goes away during Mount leaves nothing mounted", async (t) => {
    await call(sim.socket, "Create", { Name: "gone" });
    for (const after of [5, 40, 90]) {
      const abort = new AbortController();
      const answer = post(sim.socket, "/VolumeDriver.Mount", { body: { Name: "gone", ID: "A" }, signal: abort.signal });
      setTimeout(() => abort.abort(), after);
      if ((await answer.catch(() => undefined)) !== undefined)
        await call(sim.socket, "Unmount", { Name: "gone", ID: "A" });
      await waitFor(() => mounts(sim) === 0 && loops(sim) === 0, { what: `nothing to be left after ${after} ms` });
    }
    const { Mountpoint } = await call<{ Mountpoint: string }>(sim.socket, "Mount", { Name: "gone", ID: "B" });
    t.ok(fs.existsSync(Mountpoint));
    await call(sim.socket, "Unmount", { Name: "gone", ID: "B" });
  });

  await t.test("a body of 100 MB, and half a request, do no harm", async (t) => {
    const answer = await new Promise<number | string | undefined>((resolve) => {
      const request = http.request(
        { socketPath: sim.socket, path: "/VolumeDriver.Create", method: "POST" },
        (response) => resolve(response.resume().statusCode),
      );
      request.once("error", (thrown: NodeJS.ErrnoException) => resolve(thrown.code));
      const block = Buffer.alloc(1024 * 1024, "x");
      let sent = 0;
      const more = () => {
        while (sent++ < 100) if (!request.write(block)) return void request.once("drain", more);
        request.end();
      };
      more();
    });
    t.ok(answer === 413 || answer === "EPIPE" || answer === "ECONNRESET", String(answer));
    const half = net.connect(sim.socket);
    half.on("error", () => undefined);
    half.write("POST /VolumeDriver.Create HTTP/1.1\r\nHost: \r\nContent-Length: 50\r\n\r\n{");
    t.equal((await post(sim.socket, "/Plugin.Activate")).status, 200);
    half.destroy();
  });

  await t.test("22 Get answers within 100 ms while a Mount runs", async (t) => {
    await call(sim.socket, "Create", { Name: "slow" });
    const mount = call(sim.socket, "Mount", { Name: "slow", ID: "A" });
    const began = Date.now();
    await call(sim.socket, "Get", { Name: "slow" });
    t.ok(Date.now() - began < 100);
    await mount;
    await call(sim.socket, "Unmount", { Name: "slow", ID: "A" });
  });

  await t.test("different volumes are mounted side by side", async () => {
    const many = Array.from({ length: 6 }, (_, i) => `many-${i}`);
    await Promise.all(many.map((Name) => call(sim.socket, "Create", { Name })));
    await Promise.all(many.map((Name) => call(sim.socket, "Mount", { Name, ID: "A" })));
    await Promise.all(many.map((Name) => call(sim.socket, "Unmount", { Name, ID: "A" })));
    await Promise.all(many.map((Name) => call(sim.socket, "Remove", { Name })));
  });
});

t.test("12 a stale socket is taken over, a live one is not; the socket goes with the daemon", { skip }, async (t) => {
  const name = pluginName();
  const socket = path.join("/run/docker/plugins", `${name}.sock`);
  fs.mkdirSync(path.dirname(socket), { recursive: true });
  const dead = net.createServer().listen(`${socket}.was`);
  await new Promise((resolve) => dead.once("listening", resolve));
  fs.linkSync(`${socket}.was`, socket);
  await new Promise((resolve) => dead.close(resolve));
  const sim = await startSim(t, { config: CONFIG, pluginNames: [name] });
  t.equal((await post(sim.socket, "/Plugin.Activate")).status, 200);
  t.equal(fs.statSync(socket).mode & 0o777, 0o600);
  const second = await sim.cli(
    "up",
    "--state-dir",
    `${sim.dir}/state-2`,
    "--run-dir",
    `${sim.dir}/run-2`,
    "--plugin-name",
    name,
  );
  t.equal(second.code, 1);
  t.match(second.stderr, /another plugin serves .*--plugin-name/);
  t.equal((await post(sim.socket, "/Plugin.Activate")).status, 200, "the first one still answers");
  await sim.stop();
  t.notOk(fs.existsSync(socket));
});

t.test("23, 48 volumes, their dates and their uses outlive the daemon", { skip }, async (t) => {
  const sim = await startSim(t, { config: CONFIG });
  await call(sim.socket, "Create", { Name: "kept", Opts: { size: "64MB" } });
  const { Mountpoint } = await call<{ Mountpoint: string }>(sim.socket, "Mount", { Name: "kept", ID: "A" });
  const before = await call(sim.socket, "Get", { Name: "kept" });
  await sim.restart("SIGKILL");
  t.same(await call(sim.socket, "Get", { Name: "kept" }), before);
  t.same(await call(sim.socket, "Path", { Name: "kept" }), { Mountpoint, Err: "" });
  await call(sim.socket, "Unmount", { Name: "kept", ID: "A" });
  t.equal(mounts(sim), 0);
});

t.test("55 a corrupt or newer record blocks its own volume only, and says what to do", { skip }, async (t) => {
  const sim = await startSim(t, { config: CONFIG });
  for (const Name of ["one", "two"]) await call(sim.socket, "Create", { Name });
  await sim.stop();
  fs.writeFileSync(path.join(sim.stateDir, "attachments/one.json"), "{ torn");
  await sim.start();
  t.match((await error(sim, "Mount", { Name: "one", ID: "A" })).err, /attachments\/one\.json/);
  t.ok((await names(sim)).includes("one"), "it is still listed");
  await call(sim.socket, "Mount", { Name: "two", ID: "A" });
  await call(sim.socket, "Unmount", { Name: "two", ID: "A" });
});
