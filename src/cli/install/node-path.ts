import fs from "node:fs";
import path from "node:path";
import { SimError } from "../../lib/errors.ts";

/** Linux reads no more than 255 bytes of a `#!` line, older ones 127. */
const LONGEST = 120;

/**
 * The path of this Node that is good for longest: the one that PATH finds, often a link that a new version leaves alone.
 * Throws invalid_argument when it cannot stand in a unit or after `#!`.
 */
export function nodePath(searchPath: string, running: string): string {
  const candidates = searchPath
    .split(":")
    .filter((dir) => path.isAbsolute(dir))
    .map((dir) => path.join(dir, "node"));
  const found = candidates.find((file) => fs.existsSync(file) && fs.realpathSync(file) === fs.realpathSync(running));
  const node = found ?? running;
  if (/^\/[\w.+/-]+$/.test(node) && node.length <= LONGEST) return node;
  throw new SimError(
    "invalid_argument",
    `Node's own path ${node} is to stand in a systemd unit, which takes up to ${LONGEST} letters, digits and . _ + - /: link it from such a place and run that`,
  );
}
