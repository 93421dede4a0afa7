import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import t from "tap";
import { requiresFuse } from "../../helpers/requires.ts";
import { output } from "../../helpers/run.ts";
import { startSim } from "../../helpers/sim.ts";
import { waitFor } from "../../helpers/wait.ts";
import { dropCaches, mountVolume, running, type Status } from "./load.ts";

// The kernel writes dirty pages back through the engine, which itself needs memory to take them: in a cgroup that is full of
// dirty pages that must not wait for itself. Daemon and application share one limit here, as in a container.
const LIMIT = 256 * 1024 * 1024;
const WRITTEN_MB = 700;

/** The memory controller, version 1 or 2. */
function memoryCgroups(): { root: string; limit: string; failures: (group: string) => number } | undefined {
  if (fs.existsSync("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
    return {
      root: "/sys/fs/cgroup/memory",
      limit: "memory.limit_in_bytes",
      failures: (group) => Number(fs.readFileSync(`${group}/memory.failcnt`, "utf8")),
    };
  if (!read("/sys/fs/cgroup/cgroup.subtree_control").includes("memory")) return undefined;
  return {
    root: "/sys/fs/cgroup",
    limit: "memory.max",
    failures: (group) => Number(/^max (\d+)/m.exec(read(`${group}/memory.events`))?.[1] ?? 0),
  };
}

function read(file: string): string {
  try {
    return fs.readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

const cgroups = memoryCgroups();
const skip = requiresFuse() || (cgroups === undefined && "needs the memory controller of cgroups");

t.test("write-back in a full memory cgroup does not wait for itself", { skip, timeout: 240_000 }, async (t) => {
  const { root, limit, failures } = cgroups as NonNullable<typeof cgroups>;
  const sim = await startSim(t, { config: "simulator:\n  granularity: 64MB\n" });
  const group = path.join(root, path.basename(sim.dir));
  fs.mkdirSync(group);
  t.teardown(async () => {
    for (const pid of read(`${group}/cgroup.procs`).split("\n").filter(Boolean)) leave(root, pid);
    await waitFor(() => removed(group), { what: "the cgroup to be empty" });
  });
  fs.writeFileSync(path.join(group, limit), String(LIMIT));
  fs.writeFileSync(path.join(group, "cgroup.procs"), String(sim.pid));
  const directory = await mountVolume(sim, "wb", { size: "2GB" });
  const engine = async () => (await sim.json<Status>("status")).volumes[0]?.enginePid ?? 0;
  const before = await engine();

  // Each line of `seq` is different, so that what reads back can only be what was written.
  const script = `echo $$ > "$1"; seq 1 1000000000 | head -c ${WRITTEN_MB}M > "$2/big"; dd if="$2/big" of="$2/again" bs=64k count=2000 conv=fsync; sync -f "$2/big"`;
  const writer = running("sh", ["-c", script, "sh", path.join(group, "cgroup.procs"), directory]);
  t.teardown(() => void writer.child.kill("SIGKILL"));
  await writer.ended;
  t.ok(failures(group) > 0, "the limit was met");
  t.equal(await engine(), before, "the engine lives");

  dropCaches();
  const expected = (await output("sh", ["-c", `seq 1 1000000000 | head -c ${WRITTEN_MB}M | sha256sum`])).split(" ")[0];
  const hash = createHash("sha256");
  for await (const part of fs.createReadStream(path.join(directory, "big"))) hash.update(part as Buffer);
  t.equal(hash.digest("hex"), expected);
});

function leave(root: string, pid: string): void {
  try {
    fs.writeFileSync(path.join(root, "cgroup.procs"), pid);
  } catch {
    // It has ended meanwhile.
  }
}

function removed(group: string): boolean {
  try {
    fs.rmdirSync(group);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT";
  }
}
