import { readFileSync } from "node:fs";
import { readdir, readFile, readlink } from "node:fs/promises";

/** One line of /proc/PID/mountinfo (proc(5)). */
export interface Mount {
  /** "major:minor" of the file system's device. */
  readonly device: string;
  /** Directory of the file system that is mounted. */
  readonly root: string;
  readonly mountpoint: string;
  readonly options: string;
  /** Number of the peer group that it belongs to or follows, undefined for a private mount. */
  readonly peerGroup: string | undefined;
  readonly fsType: string;
  readonly source: string;
}

/** Spaces and the like are written as three octal digits. */
const unescaped = (text: string) =>
  text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));

/** Parses the text of a mountinfo file; lines of unknown shape are passed over. */
export function parseMountinfo(text: string): Mount[] {
  return text.split("\n").flatMap((line) => {
    const fields = line.split(" ");
    const separator = fields.indexOf("-", 6);
    if (separator < 0) return [];
    const [, , device = "", root = "", mountpoint = "", options = ""] = fields;
    const peerGroup = fields
      .slice(6, separator)
      .map((field) => /^(?:shared|master):(\d+)$/.exec(field)?.[1])
      .find((group) => group !== undefined);
    const [fsType = "", source = ""] = fields.slice(separator + 1);
    return [
      {
        device,
        root: unescaped(root),
        mountpoint: unescaped(mountpoint),
        options,
        peerGroup,
        fsType,
        source: unescaped(source),
      },
    ];
  });
}

/**
 * This process's mounts that meet the condition. Read in place: the kernel answers from memory, and handing the reads to
 * another thread takes several times as long.
 */
export function mountsOf(condition: (mount: Mount) => boolean): Mount[] {
  return parseMountinfo(readFileSync("/proc/self/mountinfo", "utf8")).filter(condition);
}

/** A process in another mount namespace that has the device mounted; one per namespace. */
export interface Holder {
  readonly pid: number;
  readonly command: string;
}

/**
 * Who else has a file system mounted, by its "major:minor": the processes of foreign mount namespaces
 * (docker-volume-plugin.md 8.4). A namespace that merely follows our mount, as those of systemd's services do, loses it when
 * we unmount and is no holder. Undefined when it cannot be known: the first process of a container sees nobody but its own.
 */
export async function foreignHolders(device: string): Promise<Holder[] | undefined> {
  if (process.pid === 1) return undefined;
  const own = mountsOf((mount) => mount.device === device && mount.peerGroup !== undefined);
  const follows = (mount: Mount) =>
    own.some(({ mountpoint, peerGroup }) => mount.mountpoint === mountpoint && mount.peerGroup === peerGroup);
  const seen = new Set([await readlink("/proc/self/ns/mnt")]);
  const holders: Holder[] = [];
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const namespace = await readlink(`/proc/${entry}/ns/mnt`);
      if (seen.has(namespace)) continue;
      seen.add(namespace);
      const mounts = parseMountinfo(await readFile(`/proc/${entry}/mountinfo`, "utf8"));
      if (!mounts.some((mount) => mount.device === device && !follows(mount))) continue;
      holders.push({ pid: Number(entry), command: (await readFile(`/proc/${entry}/comm`, "utf8")).trim() });
    } catch {
      // The process has ended meanwhile.
    }
  }
  return holders;
}
