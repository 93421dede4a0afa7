import fs from "node:fs";
import path from "node:path";

/**
 * Who may import whom, below src/. A key is a directory or a file; the longest key that a file lies below rules it. What is
 * listed may be imported with everything below it; `type:` allows types only. Every file may import from its own key.
 */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  bin: ["cli", "daemon", "dvdcli", "lib"],
  "bin/sdc-engine.ts": ["scaleio/sdc", "lib"],
  "bin/mesos-agent.ts": ["mesos/agent", "mesos/task.ts", "lib"],
  cli: [
    "admin/client.ts",
    "type:marathon/overview.ts",
    "type:mesos/agents-api.ts",
    "type:admin",
    "config",
    "dvdcli/usage.ts",
    "host",
    "lib",
    "mesos/faults/types.ts",
    "scaleio/faults/types.ts",
    "type:scaleio/model.ts",
  ],
  dvdcli: ["lib"],
  daemon: ["admin", "config", "docker", "drivers", "host", "lib", "marathon", "mesos", "scaleio", "volumes"],
  admin: [
    "type:marathon/overview.ts",
    "type:mesos/agents-api.ts",
    "type:scaleio/cluster-api.ts",
    "type:scaleio/model.ts",
    "type:volumes/service.ts",
    "lib",
  ],
  docker: ["type:volumes/service.ts", "lib"],
  volumes: ["drivers/driver.ts", "host", "type:config", "lib"],
  "drivers/driver.ts": ["lib"],
  drivers: ["drivers/driver.ts", "scaleio", "lib"],
  scaleio: ["host", "lib"],
  "scaleio/model.ts": [],
  "scaleio/mdm": ["scaleio/model.ts", "lib"],
  "scaleio/pool": ["scaleio/model.ts", "lib"],
  "scaleio/sds": ["scaleio/model.ts", "lib"],
  "scaleio/sdc": ["scaleio/model.ts", "type:scaleio/layers.ts", "scaleio/faults", "host", "lib"],
  "scaleio/faults": ["scaleio/model.ts", "type:scaleio/sdc/files.ts", "lib"],
  "scaleio/watch": ["scaleio/model.ts", "scaleio/pool", "lib"],
  "scaleio/layers.ts": ["scaleio/model.ts"],
  marathon: ["mesos/task.ts", "type:mesos/master", "lib"],
  "marathon/definition": [],
  mesos: ["lib"],
  // An agent and its master are processes of their own: they share what is on disk, and the words that they speak.
  "mesos/agent": ["mesos/host", "mesos/faults", "mesos/task.ts", "lib"],
  "mesos/master": ["mesos/host", "mesos/faults", "mesos/task.ts", "mesos/agents-api.ts", "lib"],
  "mesos/host": ["mesos/task.ts", "lib"],
  config: ["lib"],
  host: ["lib"],
  lib: [],
};

/** `import ... from "x"`, `export ... from "x"`, `import "x"` and `import("x")`. */
const IMPORTS =
  /^\s*(?:import|export)\s+(?<type>type\s)?(?:[\w*{][^;"']*?\sfrom\s*)?"(?<from>[^"]+)"|\bimport\(\s*"(?<lazy>[^"]+)"/gm;

const layers = Object.keys(ALLOWED).toSorted((a, b) => b.length - a.length);
const layerOf = (file: string) => layers.find((layer) => isBelow(file, layer));
const isBelow = (file: string, layer: string) => file === layer || file.startsWith(`${layer}/`);

/** One sentence for each import that points up or sideways, and for each file that belongs to no layer. */
function problemsOf(file: string): string[] {
  const layer = layerOf(file);
  if (layer === undefined) return [`src/${file} belongs to no layer: add its directory to scripts/check-layers.ts`];
  const problems: string[] = [];
  for (const { groups } of fs.readFileSync(`src/${file}`, "utf8").matchAll(IMPORTS)) {
    const target = groups?.["from"] ?? groups?.["lazy"] ?? "";
    const imported = path.posix.join(path.posix.dirname(file), target);
    if (!target.startsWith(".") || imported.startsWith("../")) continue;
    const rules = [layer, ...(ALLOWED[layer] ?? [])];
    const reach = groups?.["type"] === undefined ? rules : rules.map((rule) => rule.replace(/^type:/, ""));
    if (reach.some((rule) => isBelow(imported, rule))) continue;
    problems.push(`src/${file} may not import ${imported}: ${layer} knows ${rules.slice(1).join(", ") || "nothing"}`);
  }
  return problems;
}

const files = fs
  .readdirSync("src", { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .toSorted();
const problems = files.flatMap(problemsOf);
for (const problem of problems) console.error(problem);
console.log(`${files.length} files, ${problems.length} imports against the layers`);
process.exitCode = problems.length === 0 ? 0 : 1;
