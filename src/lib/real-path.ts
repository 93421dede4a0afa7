import fs from "node:fs";
import path from "node:path";

/**
 * An absolute path without symbolic links, as the kernel's tables of mounts have it: what is mounted below a link is not
 * found again by the link's name. What is not there yet stands for itself.
 */
export function realPath(file: string): string {
  try {
    return fs.realpathSync(file);
  } catch {
    const parent = path.dirname(file);
    return parent === file ? file : path.join(realPath(parent), path.basename(file));
  }
}
