import fs from "node:fs";
import path from "node:path";
import { mock } from "node:test";
import t from "tap";
import { Agent } from "../../src/mesos/agent/agent.ts";
import { Dvdcli } from "../../src/mesos/agent/dvdcli.ts";
import type { Namespace } from "../../src/mesos/agent/namespace.ts";
import { withWord } from "../helpers/processes.ts";
import { requiresFuse } from "../helpers/requires.ts";
import { tempDir } from "../helpers/temp-dir.ts";
import { waitFor } from "../helpers/wait.ts";

// One call of dvdcli by an agent: what it answers, how long it may take. In this process's own namespace.
t.test("blanks and standard error are no part of the mount point; a missing program is named", async (t) => {
  const dir = tempDir("call");
  const fd = fs.openSync("/dev/null", "r");
  t.teardown(() => {
    fs.closeSync(fd);
    fs.rmSync(dir, { recursive: true, force: true });
  });
  const program = path.join(dir, "dvdcli");
  fs.writeFileSync(program, "#!/bin/sh\nprintf ' \\t/a p \\r\\n\\n'\necho 'time=now level=info' >&2\n", {
    mode: 0o755,
  });
  const namespace = { fd, enter: (words: readonly string[]) => [...words] } as unknown as Namespace;
  const limits = { mountTimeoutSeconds: 60, unmountTimeoutSeconds: 60 };
  const dvdcli = new Dvdcli({ program, namespace: async () => namespace, faults: () => [], ...limits });
  t.equal(await dvdcli.mount("rexray", "v", {}), "/a p");
  t.doesNotThrow(() => dvdcli.check());
  fs.rmSync(program);
  const gone = `ENOENT: no such file or directory, access '${program}'`;
  t.throws(() => dvdcli.check(), { message: `The 'docker/volume' isolator cannot get dvdcli command: ${gone}` });
  await t.rejects(dvdcli.unmount("rexray", "v"), {
    message: `Failed to execute '${program}, ${program}, unmount, --volumedriver=rexray, --volumename=v': ${gone}`,
  });
});

t.test("78 a mount that hangs is killed with all that it has started, and named in Mesos' words", async (t) => {
  const dir = tempDir("call");
  t.teardown(() => fs.rmSync(dir, { recursive: true, force: true }));
  const [program, mark] = [path.join(dir, "dvdcli"), path.join(dir, "mark")];
  fs.writeFileSync(program, `#!/bin/sh\n: > ${mark}\ntail -f ${mark} &\nwait\n`, { mode: 0o755 });
  const fd = fs.openSync("/dev/null", "r");
  t.teardown(() => fs.closeSync(fd));
  const namespace = { fd, enter: (words: readonly string[]) => [...words] } as unknown as Namespace;
  const call = (seconds: number) =>
    new Dvdcli({
      program,
      namespace: async () => namespace,
      faults: () => [],
      mountTimeoutSeconds: seconds,
      unmountTimeoutSeconds: seconds,
    });
  await t.rejects(call(1).mount("rexray", "v", {}), { message: "'mount' timed out in 1secs" });
  t.ok(fs.existsSync(mark), "it had started something");
  // It has been sent SIGKILL; the kernel takes its time to bury it.
  await waitFor(() => withWord(mark).length === 0, { what: "the end of what the mount had started" });
  // The limits that agents have, in the words that Mesos has for them.
  mock.timers.enable({ apis: ["setTimeout"] });
  const mount = call(120).mount("rexray", "v", {});
  const result = t.rejects(mount, { message: "'mount' timed out in 2mins" });
  await new Promise((resolve) => setImmediate(resolve));
  mock.timers.tick(120_000);
  mock.timers.reset();
  await result;
});

t.test("78 and it is the failure of the task, in the agent's words", { skip: requiresFuse() }, async (t) => {
  const dir = tempDir("call");
  t.teardown(() => fs.rmSync(dir, { recursive: true, force: true }));
  const dvdcli = path.join(dir, "dvdcli");
  fs.writeFileSync(dvdcli, '#!/bin/sh\n[ "$1" = unmount ] || exec sleep 1000\n', { mode: 0o755 });
  const [pluginDir, volumesDir] = [path.join(dir, "plugins"), path.join(dir, "volumes")];
  for (const one of [pluginDir, volumesDir]) fs.mkdirSync(one);
  const agent = new Agent(
    {
      name: "agent-1",
      id: "S1",
      workDir: dir,
      socket: "",
      pluginDir,
      volumesDir,
      dvdcli,
      executor: path.resolve(import.meta.dirname, "../../dist/bin/mesos-executor.sh"),
      faultsFile: path.join(dir, "faults.json"),
      mountTimeoutSeconds: 1,
      unmountTimeoutSeconds: 600,
    },
    (message) => t.comment(message),
  );
  agent.recover();
  const source = { driver: "rexray", name: "v", options: {} };
  agent.launch({
    taskId: "m.1",
    name: "m",
    frameworkId: "f",
    command: { shell: "sleep 1000" },
    env: {},
    fetch: [],
    resources: { cpus: 0.1, mem: 32, disk: 0 },
    ports: [],
    volumes: [{ containerPath: "data", mode: "RW", source }],
    killGraceSeconds: 1,
    labels: {},
  });
  const failed = await waitFor(
    async () => (await agent.after(0, 0)).tasks.find(({ status }) => status.state === "TASK_FAILED"),
    { what: "the failure" },
  );
  t.match(failed.status, {
    message: "Failed to launch container: 'mount' timed out in 1secs",
    reason: "REASON_CONTAINER_LAUNCH_FAILED",
  });
  await agent.drain();
});
