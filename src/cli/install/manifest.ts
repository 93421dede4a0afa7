import fs from "node:fs";
import path from "node:path";
import { z } from "zod";
import { replaceFile } from "../../lib/atomic-file.ts";
import { errnoOf, SimError } from "../../lib/errors.ts";

/** Says what is installed; the one installation of a machine, whatever its prefix. */
export const MANIFEST = "/etc/rexray-sim/installed.json";

/** Absolute and without "..": what is listed is removed. */
const place = z.string().refine((file) => file.startsWith("/") && file !== "/" && path.normalize(file) === file);

const schema = z.object({
  format: z.literal(1),
  version: z.string(),
  /** As they are called without the staging root, like the directories. */
  files: z.array(place),
  /** Those that had to be made. */
  directories: z.array(place),
});

export type Manifest = z.infer<typeof schema>;

/** What is installed below the root; undefined: nothing. Throws state_corrupt. */
export function readManifest(root: string): Manifest | undefined {
  const file = path.join(root, MANIFEST);
  try {
    return schema.parse(JSON.parse(fs.readFileSync(file, "utf8")));
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw new SimError(
      "state_corrupt",
      `${file}, which lists what is installed, cannot be understood: ${(error as Error).message}; remove it and what was installed by hand`,
      { cause: error },
    );
  }
}

export async function writeManifest(root: string, manifest: Manifest): Promise<void> {
  const sorted = { ...manifest, files: manifest.files.toSorted(), directories: manifest.directories.toSorted() };
  await replaceFile(path.join(root, MANIFEST), `${JSON.stringify(sorted, undefined, 2)}\n`);
}
