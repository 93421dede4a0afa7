import fs from "node:fs";
import path from "node:path";

/** A section of README.md, without its heading; "" when there is none of that name. */
export function sectionOf(name: string): string {
  const text = fs.readFileSync(path.resolve(import.meta.dirname, "../../README.md"), "utf8");
  return text.split(`\n## ${name}\n`)[1]?.split("\n## ")[0] ?? "";
}

/** Its indented lines: what its reader types. */
export function commandsOf(section: string): string[] {
  return sectionOf(section)
    .split("\n")
    .flatMap((line) => (line.startsWith("    ") ? [line.trim()] : []));
}
