import fs from "node:fs";
import path from "node:path";
import t from "tap";
import { run, runForBytes } from "../../src/host/exec.ts";
import { tempDir } from "../helpers/temp-dir.ts";

t.test("answers what the tool printed", async (t) => {
  t.equal(await run("echo", ["hi"]), "hi\n");
  t.same(await runForBytes("printf", ["\\377"]), Buffer.from([0xff]));
});

t.test("no shell: arguments arrive as they are", async (t) => {
  t.equal(await run("printf", ["%s", "$HOME; echo `id` *"]), "$HOME; echo `id` *");
});

t.test("a failure has the command and the tool's own words", async (t) => {
  await t.rejects(run("ls", ["/no/such"]), { code: "host_failed", message: /^ls \/no\/such: .*cannot access/ });
  await t.rejects(run("false", []), { code: "host_failed", message: "false: ended with status 1" });
});

t.test("a tool that is missing: the package to install", async (t) => {
  const before = process.env["PATH"];
  t.teardown(() => (process.env["PATH"] = before));
  process.env["PATH"] = "/nowhere";
  const message = "mkfs.xfs is missing, install the package xfsprogs";
  await t.rejects(run("mkfs.xfs", ["-V"]), { code: "host_failed", message });
});

t.test("a time limit", async (t) => {
  await t.rejects(run("sleep", ["1000"], { timeoutMs: 20 }), { code: "timed_out", message: "no end after 0.02 s" });
});

t.test("a tool that does not end when it is killed is not waited for", async (t) => {
  const dir = tempDir("exec");
  t.teardown(() => fs.rmSync(dir, { recursive: true }));
  // Its child keeps the output open, as one does that hangs in the kernel.
  const script = `sleep 1000 & echo $! > ${path.join(dir, "pid")}; exec sleep 1000`;
  t.teardown(() => process.kill(Number(fs.readFileSync(path.join(dir, "pid"), "utf8")), "SIGKILL"));
  await t.rejects(run("sh", ["-c", script], { timeoutMs: 300 }), { code: "timed_out" });
});

t.test("the caller goes away", async (t) => {
  const gone = { code: "cancelled" };
  await t.rejects(run("sleep", ["1000"], { signal: AbortSignal.abort() }), gone, "before");
  const caller = new AbortController();
  const running = run("sleep", ["1000"], { signal: caller.signal });
  caller.abort();
  await t.rejects(running, gone, "meanwhile");
});

t.test("a descriptor for the tool", async (t) => {
  const dir = tempDir("exec");
  t.teardown(() => fs.rmSync(dir, { recursive: true }));
  const file = path.join(dir, "f");
  fs.writeFileSync(file, "hi");
  const fd = fs.openSync(file, "r");
  t.equal(await run("cat", ["/dev/fd/3"], { fd }), "hi");
  t.equal(fs.fstatSync(fd).size, 2, "it stays open here");
  fs.closeSync(fd);
});
