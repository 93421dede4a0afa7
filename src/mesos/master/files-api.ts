import fs from "node:fs";
import path from "node:path";
import type { Express, Response } from "express";
import type { Agents } from "./agents.ts";

/** Most that one read answers (bytes). */
const MOST_READ = 64 * 1024;

/** `/files/browse`, `read` and `download`, which log tools poll (spec/marathon.md 9): of sandboxes, and nothing else. */
export function filesRoutes(app: Express, agents: Pick<Agents, "list">): void {
  for (const prefix of ["", "/agent/:id", "/slave/:id"]) {
    app.get([`${prefix}/files/browse`, `${prefix}/files/browse.json`], (request, response) => {
      const found = sandboxFile(agents, request.query["path"], response);
      if (found === undefined) return;
      if (!fs.statSync(found).isDirectory()) return void response.status(400).send("Cannot browse a file.");
      return void response.json(fs.readdirSync(found).flatMap((name) => rowOf(path.join(found, name))));
    });
    app.get([`${prefix}/files/read`, `${prefix}/files/read.json`], (request, response) => {
      const found = sandboxFile(agents, request.query["path"], response);
      if (found === undefined) return;
      const { offset, length } = request.query;
      if (fs.statSync(found).isDirectory()) return void response.status(400).send("Cannot read a directory.");
      const from = Number(offset ?? -1);
      const most = Number(length ?? MOST_READ);
      if (!Number.isSafeInteger(from)) return void response.status(400).send("Failed to parse offset.");
      if (!Number.isSafeInteger(most)) return void response.status(400).send("Failed to parse length.");
      return void response.json(read(found, from, most));
    });
    app.get(`${prefix}/files/download`, (request, response) => {
      const found = sandboxFile(agents, request.query["path"], response);
      if (found === undefined) return;
      if (fs.statSync(found).isDirectory()) return void response.status(400).send("Cannot download a directory.");
      // Sandboxes lie where they lie, also below names that begin with a dot.
      return void response.download(found, path.basename(found), { dotfiles: "allow" });
    });
  }
}

/** From offset on; a negative offset asks for the size. A negative length is as good as none. */
function read(file: string, offset: number, length: number): { data: string; offset: number } {
  const { size } = fs.statSync(file);
  if (offset < 0) return { data: "", offset: size };
  const wanted = Math.min(MOST_READ, length < 0 ? MOST_READ : length, Math.max(0, size - offset));
  const buffer = Buffer.alloc(wanted);
  const fd = fs.openSync(file, "r");
  try {
    return { data: buffer.toString("utf8", 0, fs.readSync(fd, buffer, 0, wanted, offset)), offset };
  } finally {
    fs.closeSync(fd);
  }
}

/** One line of a listing; none when it has gone meanwhile. */
function rowOf(file: string): Record<string, unknown>[] {
  try {
    const { nlink, size, mtimeMs, mode, uid, gid } = fs.lstatSync(file);
    const row = { path: file, nlink, size, mtime: Math.floor(mtimeMs / 1000), mode: modeText(mode) };
    return [{ ...row, uid: String(uid), gid: String(gid) }];
  } catch {
    return [];
  }
}

const KINDS: Readonly<Record<number, string>> = { 4: "d", 9: "l", 2: "c", 6: "b", 1: "p", 11: "s" };

/** As `ls -l` has it: "-rw-r--r--". */
function modeText(mode: number): string {
  const bits = Array.from("rwxrwxrwx", (letter, index) => ((mode >> (8 - index)) & 1 ? letter : "-"));
  return (KINDS[mode >> 12] ?? "-") + bits.join("");
}

/** A file below some agent's sandboxes; answers the error itself. */
function sandboxFile(agents: Pick<Agents, "list">, wanted: unknown, response: Response): string | undefined {
  if (typeof wanted !== "string" || wanted === "") {
    response.status(400).send("Expecting 'path=value' in query.");
    return undefined;
  }
  try {
    const real = fs.realpathSync(wanted);
    if (agents.list().some(({ workDir }) => isBelow(real, path.join(workDir, "slaves")))) return real;
  } catch {
    // Not there, or no path at all.
  }
  response.status(404).end();
  return undefined;
}

const isBelow = (real: string, dir: string) => fs.existsSync(dir) && real.startsWith(`${fs.realpathSync(dir)}/`);
