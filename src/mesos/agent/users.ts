import { execFileSync } from "node:child_process";

export interface User {
  readonly uid: number;
  readonly gid: number;
}

/** A user of this machine. Throws what becomes the task's failure. */
export function userOf(name: string): User {
  try {
    const [, , uid, gid] = execFileSync("getent", ["passwd", "--", name], { encoding: "utf8" }).split(":");
    return { uid: Number(uid), gid: Number(gid) };
  } catch {
    throw new Error(`this machine has no user '${name}': create it (useradd), or leave 'user' out of the definition`);
  }
}

/** A command as that user runs it. */
export const commandAs = ({ uid, gid }: User, argv: readonly string[]): string[] => [
  "setpriv",
  `--reuid=${uid}`,
  `--regid=${gid}`,
  "--init-groups",
  "--",
  ...argv,
];
