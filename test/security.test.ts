import { execFileSync, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import t from "tap";
import { AdminClient } from "../src/admin/client.ts";
import { writeWrappers } from "../src/cli/wrappers.ts";
import { holdDir } from "../src/daemon/lock.ts";
import { resolveDirs } from "../src/lib/dirs.ts";
import { createLog } from "../src/lib/log.ts";
import { fetchFiles } from "../src/mesos/agent/fetcher.ts";
import { directoryInside, openOutput } from "../src/mesos/agent/sandbox.ts";
import { call, post } from "./helpers/plugin-client.ts";
import { requiresFuse, requiresRoot, requiresTools } from "./helpers/requires.ts";
import { type Sim, startSim } from "./helpers/sim.ts";
import { tempDir } from "./helpers/temp-dir.ts";
import { waitFor } from "./helpers/wait.ts";
import { startWorld, stateful } from "./marathon/world.ts";

// One test for each line of the threat model in README.md, by its name there.
const skip = requiresFuse() || requiresTools("setpriv");
const SMALL = "simulator:\n  granularity: 64MB\n";
const ROOT_PATH = (rootPath: string) =>
  `${SMALL}libstorage: {integration: {volume: {operations: {create: {default: {size: 64MB}}, mount: {rootPath: "${rootPath}"}}}}}\n`;
const SLEEP = { cpus: 0.1, mem: 16, backoffSeconds: 1, backoffFactor: 1 };
/** What a terminal would obey, a line of its own, and C1's beginning of a sequence. */
const HOSTILE = "a\u001b[2Jb\u009b31mc\u202ed";
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const UNPRINTABLE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202e]/;

const secret = () => randomBytes(12).toString("hex");
const tempOf = (t: Tap, prefix: string) => {
  const dir = tempDir(prefix);
  t.teardown(() => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
};
type Tap = Parameters<typeof startSim>[0];

/** What a file says; nothing when it has gone meanwhile, as files of engines that get ready do. */
function contentOf(file: string): string {
  try {
    return fs.readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

/** Everything below a directory but what is mounted there: that is its users'. */
function* below(dir: string): Generator<{ file: string; stat: fs.Stats }> {
  const { dev } = fs.lstatSync(dir, { throwIfNoEntry: false }) ?? {};
  for (const name of dev === undefined ? [] : fs.readdirSync(dir)) {
    const file = path.join(dir, name);
    const stat = fs.lstatSync(file, { throwIfNoEntry: false });
    if (stat === undefined || stat.dev !== dev) continue;
    yield { file, stat };
    if (stat.isDirectory()) yield* below(file);
  }
}

const modeOf = ({ mode }: fs.Stats) => (mode & 0o777).toString(8);

/** Runs a program as a user who is nobody here. setpriv itself finds its program with root's rights still, so that is `env`. */
const asNobody = (program: string, ...args: string[]) =>
  spawnSync("setpriv", ["--reuid=65534", "--regid=65534", "--clear-groups", "--", "env", program, ...args]).status;

const refusal = async (sim: Sim, operation: string, body: unknown): Promise<string> =>
  (JSON.parse((await post(sim.socket, `/VolumeDriver.${operation}`, { body })).body) as { Err: string }).Err;

/** An HTTP status, with headers that `fetch` does not let one choose. */
const statusOf = (url: string, headers: Record<string, string>, method = "GET") =>
  new Promise<number>((resolve, reject) => {
    const request = http.request(url, { method, headers }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.once("error", reject).end();
  });

const basic = (username: string, password: string) => ({
  authorization: `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`,
});

/** All that the instance and its processes have put into logs. */
function logsOf(sim: Sim): string {
  const files = [...below(sim.stateDir), ...below(sim.runDir)].flatMap(({ file, stat }) =>
    stat.isFile() && /(?:\.|^|\/)log$/.test(file) && !file.includes("/mdm/") ? [file] : [],
  );
  return [sim.said, ...files.map(contentOf)].join("\n");
}

/** Of all processes: everybody can see them. */
const commandLines = () =>
  fs.readdirSync("/proc").flatMap((name) => (/^\d+$/.test(name) ? [contentOf(`/proc/${name}/cmdline`)] : []));

/** The last column of the README's threat model. */
function promised(): string[] {
  const readme = fs.readFileSync(path.resolve(import.meta.dirname, "../README.md"), "utf8");
  const section = readme.split("\n## Threat model\n")[1]?.split("\n## ")[0] ?? "";
  const rows = section.split("\n").filter((line) => line.startsWith("| "));
  return rows.slice(2).flatMap((row) => row.split(" | ").at(-1)?.replace(/ \|$/, "").split("; ") ?? []);
}

/** Starts it for a user who does not care who may read what he makes. */
async function withUmaskZero<T>(start: () => Promise<T>): Promise<T> {
  const before = process.umask(0);
  try {
    return await start();
  } finally {
    process.umask(before);
  }
}

t.test("every line of the threat model names its test", async (t) => {
  const names = [...fs.readFileSync(import.meta.filename, "utf8").matchAll(/\bt\.test\("([^"]+)"/g)].map(
    ([, name]) => name,
  );
  t.ok(promised().length > 15);
  t.same(
    promised().filter((name) => !names.includes(name)),
    [],
  );
});

t.test("an instance in use", { skip, timeout: 240_000 }, async (t) => {
  const world = await withUmaskZero(() => startWorld(t, { head: "rexray: {logLevel: trace}\n", agents: " 1\n" }));
  const { sim } = world;
  await call(sim.socket, "Mount", { Name: "mine", ID: "1" });
  t.equal((await world.call("POST", "/v2/apps", stateful("/db", "db"))).status, 201);
  const task = await world.runs("/db");

  t.test("sockets are for root only", async (t) => {
    const sockets = [...below(sim.runDir)].filter(({ stat }) => stat.isSocket()).map(({ file }) => file);
    t.ok(
      ["admin.sock", "agent.sock", "rexray.sock"].every((name) => sockets.some((file) => path.basename(file) === name)),
    );
    const connect =
      'require("net").connect(process.argv[1]).on("connect",()=>process.exit(0)).on("error",()=>process.exit(9))';
    for (const file of [sim.socket, ...sockets]) {
      const stat = fs.statSync(file);
      t.same([modeOf(stat), stat.uid], ["600", 0], path.basename(file));
      t.equal(asNobody(process.execPath, "-e", connect, file), 9, `nobody cannot connect to ${path.basename(file)}`);
    }
  });

  t.test("files are for root only", async (t) => {
    const passedThrough = ["", "/agents", "/agents/agent-1", "/agents/agent-1/slaves"];
    const open: string[] = [];
    for (const dir of [sim.stateDir, sim.runDir])
      for (const { file, stat } of below(dir)) {
        const inside = file.slice(sim.stateDir.length);
        const sandbox = file.startsWith(path.join(sim.stateDir, "agents/agent-1/slaves/"));
        // The lock's library makes directories; there is nothing in them.
        const lock = /\/daemon(?:\.turn)?\.lock$/.test(file) && fs.readdirSync(file).length === 0;
        // Below the run directory's 0700, sockets of agents are in directories that tasks' namespaces show.
        const sockets = file.startsWith(path.join(sim.runDir, "agents")) && stat.isDirectory();
        if (sandbox || lock || sockets || stat.isSocket() || passedThrough.includes(inside)) continue;
        if ((stat.mode & 0o077) !== 0) open.push(`${modeOf(stat)} ${file}`);
      }
    t.same(open, []);
    t.equal(modeOf(fs.statSync(sim.runDir)), "700");
    for (const dir of passedThrough) t.equal(modeOf(fs.statSync(sim.stateDir + dir)), "711", dir);
    const sandbox = fs.realpathSync(world.sandbox(task));
    for (let dir = path.dirname(sandbox); dir !== sim.stateDir; dir = path.dirname(dir))
      t.equal(modeOf(fs.statSync(dir)), "711", dir);
    t.equal(modeOf(fs.statSync(sandbox)), "755", "a sandbox, as with Mesos");
    t.equal(asNobody("ls", sim.stateDir), 2, "nobody sees what there is");
    t.equal(asNobody("cat", path.join(sandbox, "stdout")), 0);
    t.equal(modeOf(fs.statSync(path.join(sim.stateDir, "volumes/mine/data"))), "700");
    const device = [...below(path.join(sim.stateDir, "sds"))].find(({ stat }) => stat.isFile() && stat.size > 2 ** 20);
    t.equal(asNobody("cat", device?.file ?? ""), 1, "nobody cannot read what is stored");
  });

  t.test("volume names cannot leave their directory", async (t) => {
    const names = [
      ...["..", ".", "../x", "a/b", "/etc", "a/../../b", "-rf", "--help", "_x", ".hidden", "a\0b", "a\nb", "a b"],
      ...["ä", "\u202ea", HOSTILE, "a".repeat(251), "a".repeat(70_000), "a\\b", "a%2fb", "~", "$HOME", "*", ""],
    ];
    const before = fs.readdirSync(sim.stateDir, { recursive: true }).length;
    for (const Name of names) {
      for (const operation of ["Create", "Mount"])
        t.match(
          await refusal(sim, operation, { Name, ID: "1" }),
          /name/i,
          `${operation} ${JSON.stringify(Name).slice(0, 40)}`,
        );
      await post(sim.socket, "/VolumeDriver.Remove", { body: { Name } });
      await post(sim.socket, "/VolumeDriver.Unmount", { body: { Name, ID: "1" } });
      await t.rejects(new AdminClient(sim.runDir).snapshot([{ volume: "mine", name: Name }]), { message: /name/i });
    }
    t.equal(fs.readdirSync(sim.stateDir, { recursive: true }).length, before, "nothing has come of it");
    t.same(fs.readdirSync(path.join(sim.stateDir, "volumes")), ["mine"]);
  });

  t.test("sandboxes are all that Mesos' endpoints show", async (t) => {
    const sandbox = fs.realpathSync(world.sandbox(task));
    fs.symlinkSync("/etc", path.join(sandbox, "etc"));
    const read = (file: string) => fetch(`${world.mesos}/files/read?path=${encodeURIComponent(file)}&offset=0`);
    t.equal((await read(path.join(sandbox, "stdout"))).status, 200);
    for (const file of [`${sandbox}/etc/passwd`, `${sandbox}/../../../../../../../../../agents.json`, sim.configFile])
      t.equal((await read(file)).status, 404, file);
  });

  t.test("web pages of other sites are kept out", async (t) => {
    const url = `${world.marathon}/v2/apps`;
    t.equal(await statusOf(url, { origin: "https://example.com" }, "POST"), 403);
    t.equal(await statusOf(url, { origin: "null" }, "POST"), 403);
    t.equal(await statusOf(url, { host: "rebound.example.com:8080" }), 403, "nor by a name of their own");
    t.equal(await statusOf(`${world.mesos}/state`, { origin: "https://example.com" }), 403);
    t.equal(await statusOf(url, { origin: "http://localhost:3000" }), 200);
  });

  t.test("volumes are for root and containers only", async (t) => {
    const data = path.join(sim.stateDir, "volumes/mine/data");
    fs.copyFileSync("/usr/bin/id", path.join(data, "id"));
    fs.chmodSync(data, 0o755);
    fs.chmodSync(path.join(data, "id"), 0o4755);
    t.not(asNobody(path.join(data, "id"), "-u"), 0, "nobody does not come to a setuid program in a volume");
    const nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    const cmd = `cp /usr/bin/id data/; chmod 4755 data/id; chmod 755 data; ${nobody} data/id -u; exec sleep 1000`;
    t.equal((await world.call("POST", "/v2/apps", stateful("/setuid", "setuid", { cmd }))).status, 201);
    await world.said(await world.runs("/setuid"), /^0$/m);
    const [open] = world.mounted().filter((point) => point.endsWith("/setuid"));
    t.not(asNobody(`${open}/data/id`, "-u"), 0, "it works in its container, and nowhere else");
  });

  t.test("no shell is given a user's string", async (t) => {
    const dir = tempOf(t, "canary");
    const canary = path.join(dir, "sings");
    const song = [
      `$(touch ${canary})`,
      `\`touch ${canary}\``,
      `'; touch ${canary}; '`,
      `"; touch ${canary} #`,
      `| touch ${canary}`,
    ];
    for (const words of song) {
      for (const key of ["size", "fsType", "type", "iops", "snapshotName", words])
        t.match(
          await refusal(sim, "Create", { Name: "o", Opts: { [key]: words } }),
          /docker-legacy: Create: o: failed/,
        );
      await refusal(sim, "Create", { Name: words });
      await call(sim.socket, "Mount", { Name: "v", ID: words });
      await call(sim.socket, "Unmount", { Name: "v", ID: words });
      await Promise.all([
        sim.cli("sds", "add", words),
        sim.cli("snapshot", "create", `v=${words}`),
        sim.dvdcli("mount", `--volumedriver=${sim.driver}`, `--volumename=${words}`, `--volumeopts=size=${words}`),
      ]);
    }
    await sim.cli("fault", "add", "unmount-fails", "agent-1", `text=${song[0]}`);
    const app = (index: number, words: string) => ({
      ...stateful(`/hostile${index}`, `hostile${index}`),
      ...SLEEP,
      cmd: null,
      args: ["sh", "-c", 'echo "said: $1 $HOSTILE"; exec sleep 1000', "sh", words],
      env: { HOSTILE: words },
      labels: { [words]: words },
    });
    await Promise.all(
      song.map(async (words, index) => {
        t.equal((await world.call("POST", "/v2/apps", app(index, words))).status, 201);
        const task = await world.runs(`/hostile${index}`, 60_000);
        await waitFor(() => world.stdout(task).includes(`said: ${words} ${words}\n`), {
          what: "its words, as they are",
        });
        await world.call("DELETE", `/v2/apps/hostile${index}`);
      }),
    );
    await sim.cli("fault", "reset");
    const archive = path.join(dir, "no.tar.gz");
    fs.writeFileSync(archive, "no archive");
    const bad = (more: object) => ({ ...SLEEP, backoffSeconds: 300, cmd: "exec sleep 1000", ...more });
    const volume = (external: object, containerPath = "data") => ({
      container: {
        type: "MESOS",
        volumes: [
          {
            containerPath,
            mode: "RW",
            external: { provider: "dvdi", options: { "dvdi/driver": "rexray" }, ...external },
          },
        ],
      },
      upgradeStrategy: { minimumHealthCapacity: 0, maximumOverCapacity: 0 },
    });
    const wrong = song.flatMap((words) => [
      { user: words },
      { fetch: [{ uri: `/${words}` }] },
      { fetch: [{ uri: archive, destPath: `${words}.tar.gz` }] },
      volume({ name: words }),
      volume({ name: "v", options: { "dvdi/driver": words } }),
      volume({ name: "w", options: { "dvdi/driver": "rexray", "dvdi/size": words, [`dvdi/${words}`]: words } }),
      { id: words },
    ]);
    await Promise.all(
      wrong.map(async (more, index) => {
        const { status } = await world.call("POST", "/v2/apps", bad({ id: `/bad${index}`, ...more }));
        if (status !== 201) return;
        await waitFor(async () => (await world.app(`/bad${index}`)).lastTaskFailure, {
          what: `${JSON.stringify(more)} to fail`,
          deadline: 60_000,
        });
        await world.call("DELETE", `/v2/apps/bad${index}`);
      }),
    );
    const left = async () => (await world.call("GET", "/v2/apps")).body.apps.map(({ id }: { id: string }) => id);
    await waitFor(async () => (await left()).toSorted().join() === "/db,/setuid", {
      what: "their end",
      deadline: 30_000,
    });
    t.notOk(fs.existsSync(canary), "nobody has sung");
  });

  t.test("log lines and screens cannot be forged", async (t) => {
    await t.test("on a terminal", async (t) => {
      const lines: string[] = [];
      for (const isTTY of [true, false]) {
        const log = createLog({ level: "info", stream: { write: (line) => lines.push(line), isTTY } });
        log.warn({ name: `${HOSTILE}\nFORGED` }, `${HOSTILE}\nFORGED`);
        log.error({ err: new Error(`${HOSTILE}\nFORGED`) }, "it broke");
      }
      t.equal(lines.length, 4);
      for (const line of lines) {
        t.notMatch(line, UNPRINTABLE);
        t.notMatch(line, /^FORGED/m);
      }
      t.equal((JSON.parse(lines[2] ?? "") as { msg: string }).msg, `${HOSTILE}\nFORGED`, "JSON means what was said");
    });

    await call(sim.socket, "Mount", { Name: "v", ID: "1" });
    await call(sim.socket, "Unmount", { Name: "v", ID: `${HOSTILE}\nFORGED` });
    const entry = await waitFor(() => sim.said.split("\n").find((line) => line.includes("unknown id")), {
      what: "the log",
    });
    t.match(JSON.parse(entry), { msg: `volume v: unmount of an unknown id "${HOSTILE}\nFORGED": nothing to do` });
    t.notMatch(await refusal(sim, "Get", { Name: HOSTILE }), UNPRINTABLE, "Docker shows it as it is");
    t.notMatch(await refusal(sim, "Create", { Name: "x", Opts: { [HOSTILE]: "1" } }), UNPRINTABLE);

    t.equal((await sim.cli("fault", "add", "unmount-fails", "agent-1", `text=${HOSTILE}`)).code, 0);
    await world.call("POST", "/v2/apps", stateful("/a", "a"));
    await world.runs("/a");
    await world.call("DELETE", "/v2/apps/a");
    const agentLog = path.join(sim.stateDir, "agents/agent-1/agent.log");
    await waitFor(() => /Failed to clean up.*\\u202e/.test(fs.readFileSync(agentLog, "utf8")), {
      what: "the agent's log",
    });
    t.notMatch(logsOf(sim), UNPRINTABLE);
    t.notMatch(logsOf(sim), /^FORGED/m);
    for (const args of [
      ["fault", "ls"],
      ["events"],
      ["status"],
      ["volume", "inspect", HOSTILE],
      ["sds", "add", HOSTILE],
    ]) {
      const { stdout, stderr } = await sim.cli(...args);
      t.notMatch(stdout + stderr, UNPRINTABLE, args.join(" ").slice(0, 20));
    }
    t.match(await sim.json("fault", "ls"), [{ attributes: { text: HOSTILE } }], "JSON means what was said");
    await sim.cli("fault", "reset");
  });

  t.test("secrets are not in logs", async (t) => {
    const hidden = secret();
    for (const key of ["password", "encryptionKey", "secret"])
      t.notMatch(
        await refusal(sim, "Create", { Name: "v", Opts: { [key]: hidden } }),
        hidden,
        "nor in what is answered",
      );
    const app = {
      ...stateful("/a", "a"),
      env: { PASSWORD: hidden, TOKEN: { secret: "one" } },
      secrets: { one: { source: hidden } },
    };
    for (const [definition, status] of [
      [app, 201],
      [{ ...app, id: "/b" }, 422],
      [JSON.stringify(app).slice(0, -1), 400],
      [{ ...app, id: 5 }, 422],
    ] as const)
      t.equal((await world.call("POST", "/v2/apps", definition)).status, status);
    await world.call("POST", "/v2/apps", { id: "/plain", cmd: "exec sleep 1000", ...SLEEP, env: { PASSWORD: hidden } });
    await world.runs("/plain");
    await world.call("POST", "/v2/apps", {
      ...SLEEP,
      id: "/fetch",
      cmd: "true",
      fetch: [{ uri: `http://me:${hidden}@127.0.0.1:1/x` }],
    });
    const failure = await waitFor(async () => (await world.app("/fetch")).lastTaskFailure, {
      what: "the fetch to fail",
    });
    t.match(failure.message, /Failed to fetch 'http:\/\/…@127\.0\.0\.1:1\/x'/);
    t.notMatch(failure.message, hidden);
    t.notMatch(logsOf(sim), hidden);
    await sim.restart("SIGKILL");
    await world.runs("/plain");
    t.notMatch(logsOf(sim), hidden);
    const record = path.join(sim.stateDir, "marathon/apps/plain.json");
    t.match(fs.readFileSync(record, "utf8"), hidden, "definitions are kept, in files of root's");
    await sim.kill();
    fs.writeFileSync(record, `{"PASSWORD": ${hidden}`);
    await t.rejects(sim.start(), { message: /plain\.json cannot be read \(it is no JSON\)/ });
    t.notMatch(sim.said, hidden);
    fs.rmSync(record);
  });
});

t.test("ports on a network need credentials", { skip, timeout: 120_000 }, async (t) => {
  await t.test("or there is no start", async (t) => {
    const refused = ["0.0.0.0", "::", "192.0.2.1", "127.evil.example.com", ""].map((listen) =>
      t.rejects(startWorld(t, { config: `  listen: "${listen}"\n` }), {
        message:
          /simulator\.listen: .* is no loopback address, .*set simulator\.credentials: .*or listen on 127\.0\.0\.1/,
      }),
    );
    await Promise.all(refused);
  });
  await t.test("and pages of other sites cannot use a browser's", async (t) => {
    const password = secret();
    const config = `  listen: 0.0.0.0\n  credentials: {username: me, password: ${password}}\n`;
    const world = await startWorld(t, { config, agents: " 1\n" });
    for (const url of [`${world.marathon}/v2/apps`, `${world.mesos}/state`]) {
      t.equal(await statusOf(url, {}), 401);
      const host = "box.example.com:8080";
      t.equal(await statusOf(url, { host, ...basic("me", password) }), 200, "by any name");
      t.equal(await statusOf(url, { host, origin: `http://${host}`, ...basic("me", password) }), 200);
      t.equal(await statusOf(url, { host, origin: "http://evil.example.com", ...basic("me", password) }), 403);
    }
  });
});

t.test("credentials are asked for, and never shown", { skip, timeout: 120_000 }, async (t) => {
  const password = `p:${secret()}`;
  const head = "rexray: {logLevel: trace}\n";
  const config = `  credentials: {username: me, password: "${password}"}\n`;
  const world = await startWorld(t, { head, config, agents: " 1\n" });
  const { sim } = world;
  for (const url of [`${world.marathon}/v2/apps`, `${world.marathon}/ping`, `${world.mesos}/master/state`]) {
    const answer = await fetch(url);
    t.equal(answer.status, 401, url);
    t.match(answer.headers.get("www-authenticate"), /^Basic realm="/);
    t.match(await answer.json(), { message: "Invalid username or password." });
    const wrong = [basic("me", "x"), basic("you", password), basic("me", `${password}x`), basic("", "")];
    const odd = ["Basic", "Basic !", `Bearer ${password}`, "Basic =", `Basic ${"A".repeat(5000)}`];
    for (const headers of [...wrong, ...odd.map((authorization) => ({ authorization }))])
      t.equal((await fetch(url, { headers })).status, 401, headers.authorization.slice(0, 40));
    t.equal((await fetch(url, { headers: basic("me", password) })).status, 200);
  }
  t.match(sim.said, /can be read by other users: `chmod 600 /);
  const shown = [sim.said, logsOf(sim)];
  const screens = [["status"], ["status", "--json"], ["doctor"], ["doctor", "--json"], ["agent", "ls"], ["events"]];
  for (const { stdout, stderr } of await Promise.all(screens.map((args) => sim.cli(...args))))
    shown.push(stdout, stderr);
  for (const { file, stat } of [...below(sim.stateDir), ...below(sim.runDir)])
    if (stat.isFile() && stat.size < 2 ** 20) shown.push(contentOf(file));
  shown.push(...commandLines());
  t.notOk(shown.some((text) => text.includes(password) || text.includes(password.slice(2))));

  const wrong = [
    `{username: me, password:${secret()}}`,
    `me:${secret()}`,
    `{username: me, password: *${secret()}}`,
    `\n    username: me\n    password: |${secret()}`,
    `{username: "a:b", password: ${secret()}}`,
  ].map(async (credentials) => {
    const hidden = /[0-9a-f]{24}/.exec(credentials)?.[0] ?? "";
    const error = await startWorld(t, { config: `  credentials: ${credentials}\n` }).then(
      () => new Error("it has started"),
      (reason: Error) => reason,
    );
    t.match(error.message, /the configuration is not right/);
    t.notOk(error.message.includes(hidden), credentials.replace(hidden, "…"));
  });
  await Promise.all(wrong);
});

t.test("a mount follows no symbolic link", { skip, timeout: 120_000 }, async (t) => {
  const elsewhere = tempOf(t, "elsewhere");
  const sim = await startSim(t, { config: ROOT_PATH("") });
  const point = path.join(sim.stateDir, "volumes/trap");
  fs.mkdirSync(path.dirname(point), { recursive: true });
  await call(sim.socket, "Create", { Name: "trap" });
  for (const [put, words] of [
    [() => fs.symlinkSync(elsewhere, point), /volumes\/trap is a symbolic link, which is not followed: .*remove it/],
    [() => fs.symlinkSync("/nowhere", point), /is a symbolic link/],
    [() => fs.writeFileSync(point, ""), /is no directory/],
  ] as const) {
    put();
    t.match(await refusal(sim, "Mount", { Name: "trap", ID: "1" }), words);
    t.notMatch(fs.readFileSync("/proc/self/mountinfo", "utf8"), elsewhere);
    fs.rmSync(point);
  }
  t.same(fs.readdirSync(elsewhere), []);
  t.same(
    await call(sim.socket, "Mount", { Name: "trap", ID: "1" }),
    { Mountpoint: point, Err: "" },
    "all is well again",
  );

  // As a container does that has all of the volume.
  fs.symlinkSync(elsewhere, path.join(point, "data"));
  await sim.stop();
  fs.writeFileSync(sim.configFile, ROOT_PATH("/data/sub"));
  await sim.start();
  t.equal(modeOf(fs.statSync(path.dirname(point))), "700", "the way to volumes, which older versions left open");
  t.match(
    await refusal(sim, "Mount", { Name: "trap", ID: "1" }),
    new RegExp(`trap/data/sub leads to ${elsewhere}/sub by a symbolic link in the volume, which is not followed`),
  );
  t.same(fs.readdirSync(elsewhere), []);
  const { volumes } = await sim.json<{ volumes: { device: string | null }[] }>("status");
  t.same(
    volumes.map(({ device }) => device),
    [null],
    "nothing of the attempts is left",
  );
});

t.test("links in a sandbox lead its agent nowhere else", { skip: requiresTools("tar"), timeout: 30_000 }, async (t) => {
  const dir = tempOf(t, "sandbox");
  const [sandbox, elsewhere] = [path.join(dir, "box"), path.join(dir, "elsewhere")];
  for (const one of [sandbox, elsewhere]) fs.mkdirSync(one);
  // An archive of somebody else's.
  const evil = path.join(dir, "evil");
  fs.mkdirSync(evil);
  fs.symlinkSync(elsewhere, path.join(evil, "dir"));
  for (const name of ["file", "stdout"]) fs.symlinkSync(path.join(elsewhere, name), path.join(evil, name));
  fs.symlinkSync("/nowhere/at/all", path.join(evil, "dangling"));
  execFileSync("mkfifo", [path.join(evil, "stderr")]);
  execFileSync("tar", ["-cf", path.join(dir, "evil.tar"), "-C", evil, "."]);
  fs.writeFileSync(path.join(dir, "file"), "content");
  const file = { extract: true, executable: false };
  const fetched = (uri: string, destPath?: string) =>
    fetchFiles(
      [{ ...file, uri: path.join(dir, uri), ...(destPath !== undefined && { destPath }) }],
      sandbox,
      new AbortController().signal,
    );
  await fetched("evil.tar");
  t.ok(fs.lstatSync(path.join(sandbox, "dir")).isSymbolicLink());
  await fetched("file");
  t.equal(fs.readFileSync(path.join(sandbox, "file"), "utf8"), "content", "in the link's place");
  await t.rejects(fetched("file", "dir/x"), { message: /leads out of the sandbox/ });
  await t.rejects(fetched("file", "../x"), { message: /no file there/ });
  for (const name of ["dir", "dir/new", "dangling/x", "..", "a/../../b"])
    t.throws(() => directoryInside(sandbox, name), { message: /leads out of the sandbox: use a path without/ }, name);
  t.equal(directoryInside(sandbox, "a/b"), path.join(sandbox, "a/b"));
  for (const name of ["stdout", "stderr"] as const) {
    const fd = openOutput(sandbox, name);
    t.equal(fs.readlinkSync(`/proc/self/fd/${fd}`), "/dev/null", name);
    fs.closeSync(fd);
  }
  t.same(fs.readdirSync(elsewhere), []);
});

t.test("a managed plugin has what it needs, and its commands are root's", { skip: requiresRoot() }, async (t) => {
  const manifest = JSON.parse(fs.readFileSync(path.resolve(import.meta.dirname, "../config.json"), "utf8"));
  t.same(manifest.linux, { capabilities: ["CAP_SYS_ADMIN"], allowAllDevices: true, devices: null });
  t.same(
    manifest.mounts.map(({ source, destination }: Record<string, string>) => [source, destination]),
    [
      ["/dev", "/dev"],
      ["/var/lib", "/host"],
    ],
  );
  t.same([manifest.network, manifest.pidHost, manifest.ipcHost], [{ type: "host" }, true, undefined]);
  const stateDir = tempOf(t, "wrappers");
  const dirs = { ...resolveDirs({ stateDir }, {}), stateDir };
  await withUmaskZero(async () => writeWrappers(dirs, {}));
  for (const name of ["", "rexray-sim", "dvdcli"]) {
    const stat = fs.statSync(path.join(stateDir, "bin", name));
    t.same([modeOf(stat), stat.uid], ["755", 0], name);
  }
});

t.test("directories that others can write to are refused", { skip: requiresRoot() }, async (t) => {
  const dir = tempOf(t, "held");
  const hold = (name: string) =>
    holdDir(path.join(dir, name), {
      what: "state directory",
      flag: "--state-dir",
      mode: 0o755,
      runDir: "/r",
      lost: () => {},
    });
  fs.mkdirSync(path.join(dir, "open"));
  fs.chmodSync(path.join(dir, "open"), 0o777);
  await t.rejects(hold("open"), { code: "host_failed", message: /not safe: everybody may write to it; `chmod o-w / });
  fs.mkdirSync(path.join(dir, "theirs"));
  fs.chownSync(path.join(dir, "theirs"), 65534, 65534);
  await t.rejects(hold("theirs"), {
    message: /not safe: it belongs to user 65534; `chown 0 .*or give another --state-dir/,
  });
  await (await hold("new")).release();
});
