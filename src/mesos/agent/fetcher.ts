import { execFile } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import type { FetchedFile } from "../task.ts";
import { directoryInside } from "./sandbox.ts";

const execute = promisify(execFile);

/** As Mesos' `--fetcher_stall_timeout` (ms). */
const STALL_MS = 60_000;

/** How to unpack what has such a name into a directory: a program and its arguments. */
const ARCHIVES: readonly { readonly name: RegExp; readonly words: (file: string, dir: string) => string[] }[] = [
  {
    name: /\.(?:tar|tar\.gz|tgz|tar\.bz2|tbz2|tar\.xz|txz)$/,
    words: (file, dir) => ["tar", "--extract", `--file=${file}`, `--directory=${dir}`],
  },
  { name: /\.zip$/, words: (file, dir) => ["unzip", "-o", "-d", dir, file] },
  { name: /\.gz$/, words: (file) => ["gzip", "--decompress", "--keep", "--force", file] },
];

/** Brings a task's files into its sandbox (spec/marathon.md 7.3). Throws what becomes the task's failure. */
export async function fetchFiles(files: readonly FetchedFile[], sandbox: string, signal: AbortSignal): Promise<void> {
  for (const file of files) {
    try {
      await fetchFile(file, sandbox, signal);
    } catch (error) {
      throw new Error(`Failed to fetch '${withoutPassword(file.uri)}': ${withoutPassword(reasonOf(error))}`);
    }
  }
}

async function fetchFile(
  { uri, extract, executable, destPath }: FetchedFile,
  sandbox: string,
  signal: AbortSignal,
): Promise<void> {
  const url = URL.canParse(uri) ? new URL(uri) : undefined;
  const name = path.basename(url === undefined ? uri : decodeURIComponent(url.pathname));
  const target = path.join(sandbox, destPath ?? name);
  if (name === "" || !target.startsWith(`${sandbox}/`))
    throw new Error(`it would be '${destPath ?? name}' in the sandbox, which is no file there: set destPath`);
  directoryInside(sandbox, path.dirname(path.relative(sandbox, target)));
  // It may be a link out of an archive that was fetched before.
  await fs.promises.rm(target, { force: true });
  if (url?.protocol === "http:" || url?.protocol === "https:") await download(url, target, signal);
  else if (url === undefined || url.protocol === "file:") await copy(url?.pathname ?? uri, target, signal);
  else throw new Error(`files are fetched by http, https, file and from paths, not by ${url.protocol}`);
  if (executable) await fs.promises.chmod(target, 0o755);
  const archive = extract && !executable ? ARCHIVES.find((one) => one.name.test(name)) : undefined;
  if (archive === undefined) return;
  const [program = "", ...words] = archive.words(target, path.dirname(target));
  await execute(program, words, { signal });
}

async function download(url: URL, target: string, signal: AbortSignal): Promise<void> {
  const stalled = new AbortController();
  const stall = () => stalled.abort(new Error(`nothing has come for ${STALL_MS / 1000} s`));
  let timer = setTimeout(stall, STALL_MS);
  try {
    const response = await fetch(url, { signal: AbortSignal.any([signal, stalled.signal]) });
    if (!response.ok || response.body === null) throw new Error(`HTTP status ${response.status}`);
    const body = Readable.fromWeb(response.body);
    body.on("data", () => {
      clearTimeout(timer);
      timer = setTimeout(stall, STALL_MS);
    });
    await pipeline(body, fs.createWriteStream(target));
  } finally {
    clearTimeout(timer);
  }
}

/** In pieces: what hangs or never ends (a file system that is away, a device) can be broken off. */
async function copy(from: string, target: string, signal: AbortSignal): Promise<void> {
  if (!path.isAbsolute(from)) throw new Error("it is neither a URL nor an absolute path");
  await pipeline(fs.createReadStream(from), fs.createWriteStream(target), { signal });
}

/** The failure is shown to many. */
const withoutPassword = (text: string) => text.replace(/(\/\/)[^/@\s]*@/g, "$1…@");

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code, path: program } = error as NodeJS.ErrnoException;
  if (code === "ENOENT" && program !== undefined && !program.includes("/")) return `install ${program} to unpack it`;
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}
