import fs from "node:fs";
import https from "node:https";
import type { AddressInfo } from "node:net";
import path from "node:path";
import t from "tap";
import { requiresRoot } from "../helpers/requires.ts";
import { output, run } from "../helpers/run.ts";
import { letGoOfVolumes } from "../helpers/shell.ts";
import { tempDir } from "../helpers/temp-dir.ts";
import { type Behaviour, FakePlugin } from "./fake-plugin.ts";
import { ROWS } from "./rows.ts";

const DVDCLI = path.resolve(import.meta.dirname, "../../dist/bin/dvdcli.js");
const root = tempDir("dvdcli");
t.teardown(() => fs.rmSync(root, { recursive: true, force: true }));
let number = 0;

/** A plugin called `fake` in a directory of its own, and a dvdcli that looks there. */
async function world(script: Record<string, Behaviour | Behaviour[]> = {}) {
  const dir = path.join(root, String(++number));
  fs.mkdirSync(dir);
  const plugin = new FakePlugin(script);
  await plugin.listen(path.join(dir, "fake.sock"));
  const dvdcli = (args: readonly string[]) =>
    run(process.execPath, [DVDCLI, ...args], { env: { ...process.env, REXRAY_SIM_PLUGIN_DIR: dir } });
  return { dir, plugin, dvdcli };
}

/** stderr without the times, and without the blank that ends every log line: that blank has to be there. */
const plain = (stderr: string) =>
  stderr.replace(/^time="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:Z|[+-]\d\d:\d\d)" (.*) \n/gm, "$1\n");

t.test("rows", { jobs: 16 }, async (t) => {
  for (const { row, args, script, code, out, err, calls } of ROWS) {
    t.test(row, { jobs: 1 }, async (t) => {
      const { plugin, dvdcli } = await world(script);
      t.teardown(() => plugin.close());
      const result = await dvdcli(args);
      t.equal(result.code, code, "exit status");
      if (out !== undefined) t.equal(result.stdout, out, "stdout");
      if (typeof err === "string") t.equal(plain(result.stderr), err, "stderr");
      else if (err !== undefined) t.match(plain(result.stderr), err, "stderr");
      if (calls !== undefined) t.equal(plugin.calls, calls, "requests");
    });
  }
});

t.test("8.17 the bytes of the requests", async (t) => {
  const { plugin, dvdcli } = await world();
  t.teardown(() => plugin.close());
  await dvdcli(["mount", "--volumedriver=fake", "--volumename=a<b>&", "--volumeopts=z=1,a=2"]);
  const head = (length: number) =>
    `Host: \r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: ${length}\r\nAccept: application/vnd.docker.plugins.v1.2+json\r\n\r\n`;
  t.equal(plugin.requests[0]?.raw, `POST /Plugin.Activate HTTP/1.1\r\n${head(0)}`);
  const body = '{"Name":"a\\u003cb\\u003e\\u0026"}\n';
  t.equal(plugin.requests[1]?.raw, `POST /VolumeDriver.Get HTTP/1.1\r\n${head(body.length)}${body}`);
  t.equal(plugin.requests[2]?.body, '{"Name":"a\\u003cb\\u003e\\u0026","Opts":{"a":"2","z":"1"}}\n');
});

t.test("8.18 options", async (t) => {
  const cases: [string[], string][] = [
    [["size=5", "iops=150,type=io1"], '{"iops":"150","size":"5","type":"io1"}'],
    [["a=1", "a=2"], '{"a":"2"}'],
    [["a=b=c"], '{"a":"b"}'],
    [["url=http://x/?q=1"], '{"url":"http://x/?q"}'],
    [["k="], '{"k":""}'],
    [["=v"], '{"":"v"}'],
    [["a = 1 , b= 2"], '{" b":" 2","a ":" 1 "}'],
    [['"a=1,b=2"'], '{"\\"a":"1","b":"2\\""}'],
  ];
  for (const [pieces, expected] of cases) {
    const { plugin, dvdcli } = await world();
    await dvdcli([
      "create",
      "--volumedriver=fake",
      "--volumename=v",
      ...pieces.map((piece) => `--volumeopts=${piece}`),
    ]);
    plugin.close();
    t.equal(plugin.requests[1]?.body, `{"Name":"v","Opts":${expected}}\n`, pieces.join(" "));
  }
  for (const piece of ["", "a=1,2", "a=1,,"]) {
    const { plugin, dvdcli } = await world();
    const { code } = await dvdcli(["create", "--volumedriver=fake", "--volumename=v", `--volumeopts=${piece}`]);
    plugin.close();
    t.equal(code, 2, JSON.stringify(piece));
    t.equal(plugin.calls, "A");
  }
});

t.test("8.19 names in logs", async (t) => {
  for (const [name, logged] of [
    ["my_vol", '"my_vol"'],
    ["a b", '"a b"'],
    ['q"u', '"q\\"u"'],
    ["naïve", '"naïve"'],
    ["vol-1.x", "vol-1.x"],
    ["tab\there", '"tab\\there"'],
  ] as const) {
    const { plugin, dvdcli } = await world();
    const { stderr } = await dvdcli(["get", "--volumedriver=fake", `--volumename=${name}`]);
    plugin.close();
    t.ok(stderr.endsWith(` volumeName=${logged} \n`), `${name}: ${stderr}`);
  }
});

t.test(
  "8.25, 8.26 patience: a stale socket is chosen, and given up after 15 s; a late one is used; a slow one is waited for",
  { jobs: 4 },
  async (t) => {
    t.test("stale", { timeout: 60_000 }, async (t) => {
      const { dir, plugin, dvdcli } = await world();
      const socket = path.join(dir, "stale.sock");
      const net = await import("node:net");
      const server = net.createServer().listen(path.join(dir, "was.sock"));
      await new Promise((resolve) => server.once("listening", resolve));
      fs.linkSync(path.join(dir, "was.sock"), socket);
      await new Promise((resolve) => server.close(resolve));
      t.teardown(() => plugin.close());
      const began = Date.now();
      const { code, stderr } = await dvdcli(["get", "--volumedriver=stale", "--volumename=v"]);
      t.equal(code, 1);
      t.ok(Date.now() - began > 14_500, "15 seconds");
      t.equal(stderr.match(/Unable to connect to plugin: .*stale\.sock:\/Plugin\.Activate, retrying/g)?.length, 4);
      t.match(
        stderr,
        /Error looking up volume plugin stale: Post \\"http:\/\/%2F.*%2Fstale\.sock\/Plugin\.Activate\\": dial unix .*connection refused/,
      );
    });
    t.test("7.38, 8.26 a plugin that answers after 35 seconds", { timeout: 60_000 }, async (t) => {
      const answer = { body: '{"Mountpoint":"/late"}', afterMs: 35_000 };
      const { plugin, dvdcli } = await world({ Mount: answer });
      t.teardown(() => plugin.close());
      const { code, stdout } = await dvdcli(["mount", "--volumedriver=fake", "--volumename=vol1"]);
      t.same([code, stdout, plugin.calls], [0, "/late\n", "A G M"]);
    });
    t.test("7.39 a plugin that never answers is waited for", { timeout: 60_000 }, async (t) => {
      const { dir, plugin } = await world({ Mount: "silence" });
      t.teardown(() => plugin.close());
      const args = [DVDCLI, "mount", "--volumedriver=fake", "--volumename=vol1"];
      const env = { ...process.env, REXRAY_SIM_PLUGIN_DIR: dir };
      const { signal } = await run(process.execPath, args, { env, timeout: 40_000 });
      t.same([signal, plugin.calls], ["SIGKILL", "A G M"], "beyond every time-out that the original has");
    });
    t.test("7.37 late", async (t) => {
      const { dir, plugin, dvdcli } = await world();
      plugin.close();
      const late = new FakePlugin();
      const timer = setTimeout(() => void late.listen(path.join(dir, "late.sock")), 1500);
      t.teardown(() => {
        clearTimeout(timer);
        late.close();
      });
      const { code, stdout, stderr } = await dvdcli(["mount", "--volumedriver=late", "--volumename=vol1"]);
      t.equal(code, 0);
      t.equal(stdout, "/mnt/fake/vol1\n");
      // After 1.5 s it has asked twice or, where it was slow to begin, once.
      t.ok([1, 2].includes(stderr.match(/retrying/g)?.length ?? 0), stderr);
    });
  },
);

t.test("8.14 a socket in a directory of its name; a file of a socket's name is passed over", async (t) => {
  const { dir, plugin, dvdcli } = await world();
  plugin.close();
  const inside = new FakePlugin();
  await inside.listen(path.join(dir, "sub/sub.sock"));
  t.teardown(() => inside.close());
  fs.writeFileSync(path.join(dir, "sub.sock"), "");
  t.equal((await dvdcli(["get", "--volumedriver=sub", "--volumename=vol1"])).stdout, "vol1\n");
});

t.test(".spec and .json files", { skip: requiresRoot() }, async (t) => {
  const existed = fs.existsSync("/etc/docker");
  fs.mkdirSync("/etc/docker", { recursive: true });
  t.teardown(() => {
    if (!existed) fs.rmSync("/etc/docker", { recursive: true });
  });
  /** dvdcli in a mount namespace in which /etc/docker/plugins has these files. */
  const withSpecs = (dir: string, files: Record<string, string>, ...args: string[]) => {
    const specs = path.join(dir, "etc/plugins");
    fs.mkdirSync(specs, { recursive: true });
    for (const [name, content] of Object.entries(files)) {
      fs.mkdirSync(path.dirname(path.join(specs, name)), { recursive: true });
      fs.writeFileSync(path.join(specs, name), content);
    }
    const script = `${letGoOfVolumes()}\nmount --bind "$1" /etc/docker && shift && exec "$@"`;
    const command = [process.execPath, DVDCLI, ...args];
    return run("unshare", ["--mount", "sh", "-c", script, "sh", path.join(dir, "etc"), ...command], {
      env: { ...process.env, REXRAY_SIM_PLUGIN_DIR: dir, TZ: "Asia/Kolkata" },
    });
  };
  const get = (driver: string) => ["get", `--volumedriver=${driver}`, "--volumename=vol1"];

  await t.test("8.14, 8.15 a socket beats .spec, .spec beats .json, blanks around the address are fine", async (t) => {
    const { dir, plugin } = await world();
    t.teardown(() => plugin.close());
    const unix = `unix://${path.join(dir, "fake.sock")}`;
    const files = {
      "one.spec": `  ${unix}\n\n`,
      "one.json": "not even JSON",
      "two/two.spec": unix,
      "three.json": JSON.stringify({ Name: "three", Addr: unix }),
      "fake.spec": "tcp://127.0.0.1:1",
    };
    for (const driver of ["one", "two", "three", "fake"]) {
      const { code, stdout, stderr } = await withSpecs(dir, files, ...get(driver));
      t.equal(code, 0, stderr);
      t.equal(stdout, "vol1\n", driver);
    }
  });

  await t.test("8.15 a .spec without a scheme", { timeout: 60_000 }, async (t) => {
    const { dir, plugin } = await world();
    t.teardown(() => plugin.close());
    const { code, stderr } = await withSpecs(dir, { "bare.spec": "/some/path.sock" }, ...get("bare"));
    t.equal(code, 1);
    t.match(stderr, /Unknown protocol/);
  });

  await t.test("8.16 tcp:// and https:// with a certificate that nobody signed", async (t) => {
    const { dir, plugin } = await world();
    const tcp = new FakePlugin();
    const port = await tcp.listen(0);
    const [key, cert] = [path.join(dir, "key.pem"), path.join(dir, "cert.pem")];
    const subject = ["-subj", "/CN=elsewhere", "-days", "2"];
    await output("openssl", [
      "req",
      "-x509",
      "-newkey",
      "rsa:2048",
      "-nodes",
      "-keyout",
      key,
      "-out",
      cert,
      ...subject,
    ]);
    const secure = https.createServer({ key: fs.readFileSync(key), cert: fs.readFileSync(cert) }, (_, response) =>
      response.end('{"Implements":["VolumeDriver"],"Volume":{"Name":"vol1"}}'),
    );
    await new Promise<void>((resolve) => secure.listen(0, "127.0.0.1", resolve));
    t.teardown(() => {
      plugin.close();
      tcp.close();
      secure.close();
    });
    const files = {
      "tcp.spec": `tcp://127.0.0.1:${port}`,
      "tls.spec": `https://127.0.0.1:${(secure.address() as AddressInfo).port}`,
    };
    t.equal((await withSpecs(dir, files, ...get("tcp"))).stdout, "vol1\n");
    t.match(tcp.requests[0]?.raw, `Host: 127.0.0.1:${port}\r\n`);
    t.equal((await withSpecs(dir, files, ...get("tls"))).stdout, "vol1\n");
  });

  await t.test("8.27 the times in the log are local ones", async (t) => {
    const { dir, plugin } = await world();
    t.teardown(() => plugin.close());
    const { stderr } = await withSpecs(dir, {}, "mount", "--volumedriver=fake", "--volumename=vol1");
    t.match(stderr, /^time="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+05:30" level=info .* \n/);
  });
});

t.test("7.47 a terminal on stdout colours stderr", async (t) => {
  const { dir, plugin } = await world();
  t.teardown(() => plugin.close());
  const command = `REXRAY_SIM_PLUGIN_DIR=${dir} ${process.execPath} ${DVDCLI} mount --volumedriver=fake --volumename=vol1`;
  const { stdout } = await run("script", ["-qec", command, "/dev/null"], {});
  t.match(stdout, `\x1b[34mINFO\x1b[0m[0000] ${"/mnt/fake/vol1".padEnd(44)} `);
});

t.test("8.23 version has six lines", async (t) => {
  const { plugin, dvdcli } = await world();
  plugin.close();
  const { stdout } = await dvdcli(["version"]);
  t.same(
    stdout.split("\n").map((line) => line.split(":")[0]),
    ["Binary", "SemVer", "OsArch", "Branch", "Commit", "Formed", ""],
  );
});
