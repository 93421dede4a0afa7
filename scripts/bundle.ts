import fs from "node:fs";
import path from "node:path";
import { build } from "esbuild";

/**
 * One self-contained file per program. CommonJS, because Node starts it some milliseconds faster than a module (dvdcli is
 * called for every mount), and because express and its kind are CommonJS themselves; `import()` stays lazy in it.
 */
const PROGRAMS = ["rexray-sim", "dvdcli", "sdc-engine", "mesos-agent", "mesos-probe"];
/** Copied as they are. */
const FILES: Readonly<Record<string, string>> = {
  "sdc-supervisor.sh": fs.readFileSync("src/scaleio/sdc/sdc-supervisor.sh", "utf8"),
  "mesos-executor.sh": fs.readFileSync("src/mesos/agent/mesos-executor.sh", "utf8"),
  // The package is ESM, what lies here is not.
  "package.json": '{ "type": "commonjs" }\n',
};
const OUT = path.resolve("dist/bin");

const missing = PROGRAMS.filter((name) => !fs.existsSync(`src/bin/${name}.ts`));
fs.mkdirSync(OUT, { recursive: true });
for (const [name, text] of Object.entries(FILES)) install(path.join(OUT, name), Buffer.from(text));
const { outputFiles } = await build({
  entryPoints: PROGRAMS.filter((name) => !missing.includes(name)).map((name) => `src/bin/${name}.ts`),
  outdir: OUT,
  write: false,
  bundle: true,
  platform: "node",
  target: "node20",
  format: "cjs",
  banner: { js: "#!/usr/bin/env node" },
  define: { "import.meta.dirname": "__dirname", "import.meta.filename": "__filename" },
  // Native accelerators of an SSH client that we do not use; it does without them.
  external: ["cpu-features", "*.node"],
  logLevel: "warning",
  logOverride: { "empty-import-meta": "error" },
}).catch(() => process.exit(1));
for (const { path: file, contents } of outputFiles) install(file, contents);
if (missing.length > 0) {
  const files = missing.map((name) => `src/bin/${name}.ts`).join(" and ");
  console.error(`build: ${files} missing, so dist/bin lacks what they make; the rest is built`);
  process.exit(1);
}

/** Puts an executable in place at once: it may be in use. Leaves it alone when it would not change. */
function install(file: string, contents: Uint8Array): void {
  if (fs.existsSync(file) && fs.readFileSync(file).equals(contents)) return;
  const aside = `${file}.${process.pid}`;
  fs.writeFileSync(aside, contents, { mode: 0o755 });
  fs.renameSync(aside, file);
}
