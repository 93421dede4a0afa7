import fs from "node:fs";
import path from "node:path";

/** The indented lines of a section of README.md: what its reader types. */
export function commandsOf(section: string): string[] {
  const text = fs.readFileSync(path.resolve(import.meta.dirname, "../../README.md"), "utf8");
  const body = text.split(`\n## ${section}\n`)[1]?.split("\n## ")[0] ?? "";
  return body.split("\n").flatMap((line) => (line.startsWith("    ") ? [line.trim()] : []));
}
