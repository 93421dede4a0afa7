import fs from "node:fs";
import path from "node:path";
import { errnoOf, SimError } from "../../lib/errors.ts";
import { VERSION } from "../../lib/version.ts";
import { type Asked, show } from "../answer.ts";
import { type Context, EXIT } from "../context.ts";
import { MANIFEST, type Manifest, readManifest, writeManifest } from "./manifest.ts";
import { nodePath } from "./node-path.ts";
import { type Planned, type PlanOptions, plan } from "./plan.ts";
import { removeEmpty, removeFiles } from "./remove.ts";
import { reload, systemdRuns } from "./systemd.ts";

/**
 * `rexray-sim install`: puts everything in place, each file at once, so that an instance may run meanwhile. What is in the
 * way and not ours is left alone, and nothing is done then.
 */
export async function install(
  context: Context,
  options: Pick<PlanOptions, "from" | "prefix" | "completion"> & Pick<Asked, "json"> & { root: string },
): Promise<number> {
  const { root, prefix } = options;
  const files = plan({ ...options, node: nodePath(context.env["PATH"] ?? "", process.execPath) });
  // Whatever root's own is: everybody may run dvdcli and read a unit.
  const umask = process.umask(0o022);
  try {
    await put(root, files);
  } catch (error) {
    if (error instanceof SimError) throw error;
    const message = `cannot install below ${root}: ${(error as Error).message}; run as root, or give another --root`;
    throw new SimError("host_failed", message, { cause: error });
  } finally {
    process.umask(umask);
  }
  const running = systemdRuns(root);
  if (running) await reload();
  const manifest = path.join(root, MANIFEST);
  const first = running ? "" : "systemctl daemon-reload && ";
  const next = `${first}systemctl enable --now rexray-sim`;
  const text = [
    `installed rexray-sim ${VERSION}: ${files.length} files, listed in ${manifest}`,
    `next: ${next}`,
    `after an update: ${first}systemctl restart rexray-sim (mounted volumes go on)`,
    `without systemd: ${path.join(prefix, "bin/rexray-sim")} up --detach`,
  ];
  const value = { version: VERSION, files: files.map((file) => file.path), manifest, next };
  show(context, options, value, text.map((line) => `${line}\n`).join(""));
  return EXIT.ok;
}

async function put(root: string, files: readonly Planned[]): Promise<void> {
  const before: Pick<Manifest, "files" | "directories"> = readManifest(root) ?? { files: [], directories: [] };
  const paths = files.map((file) => file.path);
  for (const file of paths) {
    if (!exists(path.join(root, file)) || before.files.includes(file)) continue;
    throw new SimError(
      "already_exists",
      `${path.join(root, file)} is there and was not put there by \`rexray-sim install\`: move it away, or give another --prefix`,
    );
  }
  const all: Manifest = {
    format: 1,
    version: VERSION,
    files: union(before.files, paths),
    directories: union(before.directories, missingDirectories(root, [...paths, MANIFEST])),
  };
  // On record before it is there: what is broken off in the middle can be installed again, or uninstalled.
  for (const file of [MANIFEST, ...paths]) fs.mkdirSync(path.join(root, path.dirname(file)), { recursive: true });
  await writeManifest(root, all);
  for (const file of files) place(root, file);
  removeFiles(
    root,
    before.files.filter((file) => !paths.includes(file)),
  );
  const gone = removeEmpty(root, all.directories);
  await writeManifest(root, {
    ...all,
    files: paths,
    directories: all.directories.filter((dir) => !gone.includes(dir)),
  });
}

function place(root: string, file: Planned): void {
  const target = path.join(root, file.path);
  const aside = `${target}.new`;
  fs.rmSync(aside, { force: true });
  if ("link" in file) {
    fs.symlinkSync(file.link, aside);
  } else {
    fs.writeFileSync(aside, file.text, { mode: file.mode });
  }
  fs.renameSync(aside, target);
}

/** Those above the files that are to be made. */
function missingDirectories(root: string, files: readonly string[]): string[] {
  const missing = new Set<string>();
  for (const file of files) {
    for (let dir = path.dirname(file); !exists(path.join(root, dir)); dir = path.dirname(dir)) {
      if (dir === "/") break;
      missing.add(dir);
    }
  }
  return [...missing];
}

const union = (a: readonly string[], b: readonly string[]): string[] => [...new Set([...a, ...b])];

/** A link that leads nowhere is something, too. */
function exists(file: string): boolean {
  try {
    fs.lstatSync(file);
    return true;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return false;
    throw error;
  }
}
