import fs from "node:fs";
import path from "node:path";
import t from "tap";
import { run } from "../helpers/run.ts";
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
  "7.33 and 8.25 a stale socket is chosen, and given up after 15 s; a late one is used",
  { jobs: 2 },
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
      t.equal(stderr.match(/retrying/g)?.length, 2);
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
