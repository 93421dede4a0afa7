import fs from "node:fs";
import net from "node:net";

/**
 * Whether something listens at a Unix socket. A file without a listener is what a killed process leaves behind. A listener
 * that the kernel names is not called: when it is systemd, the call would start a daemon.
 */
export function isLiveSocket(file: string): Promise<boolean> {
  if ([...listeners().values()].includes(file)) return Promise.resolve(true);
  // It may listen under another name, since renamed, or in another network namespace.
  return new Promise((resolve) => {
    const socket = net.connect(file);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** The Unix sockets of this network namespace that somebody listens at: inode, and the path at which it was bound. */
export function listeners(): Map<string, string> {
  const lines = fs.readFileSync("/proc/self/net/unix", "utf8").split("\n");
  // Num, RefCount, Protocol, Flags (with __SO_ACCEPTCON), Type, St, Inode, Path
  const pattern = /^\w+: \w+ \w+ 00010000 \w+ \w+ +(?<inode>\d+) (?<path>\/.*)$/;
  const matches = lines.map((line) => pattern.exec(line)?.groups).filter((groups) => groups !== undefined);
  return new Map(matches.map((groups) => [groups["inode"] as string, groups["path"] as string]));
}
