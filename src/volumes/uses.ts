import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { removeFile, replaceFile } from "../lib/atomic-file.ts";
import { asSimError, SimError } from "../lib/errors.ts";
import { z } from "zod";

const FORMAT = 1;
const SUFFIX = ".json";

const schema = z.strictObject({
  format: z.literal(FORMAT),
  /** Uses by mount id; "" for callers that send none. */
  uses: z.record(z.string(), z.int().positive()),
  /** mkfs had begun: whatever is on the device is not a file system of the user's yet. */
  formatting: z.boolean(),
});

export type UseRecord = Omit<z.infer<typeof schema>, "format">;

/**
 * Who uses which volume, one small file a volume, on disk before an answer is given. A volume without a record is not in use. A record that
 * cannot be understood blocks its own volume only.
 */
export class Uses {
  readonly #directory: string;
  readonly #records = new Map<string, UseRecord | SimError>();

  constructor(directory: string) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    for (const entry of readdirSync(directory)) {
      if (entry.startsWith(".") || !entry.endsWith(SUFFIX)) continue;
      this.#records.set(entry.slice(0, -SUFFIX.length), readRecord(path.join(directory, entry)));
    }
  }

  names(): string[] {
    return [...this.#records.keys()];
  }

  /** Throws state_corrupt or state_newer when the volume's record cannot be understood. */
  get(name: string): UseRecord | undefined {
    const record = this.#records.get(name);
    if (record instanceof SimError) throw record;
    return record;
  }

  async set(name: string, record: UseRecord): Promise<void> {
    await replaceFile(this.#file(name), `${JSON.stringify({ format: FORMAT, ...record }, undefined, 2)}\n`);
    this.#records.set(name, record);
  }

  async delete(name: string): Promise<void> {
    if (!this.#records.has(name)) return;
    await removeFile(this.#file(name));
    this.#records.delete(name);
  }

  #file(name: string): string {
    return path.join(this.#directory, `${name}${SUFFIX}`);
  }
}

/** All uses together. */
export const total = (uses: UseRecord["uses"]): number => Object.values(uses).reduce((sum, count) => sum + count, 0);

function readRecord(file: string): UseRecord | SimError {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, "utf8"));
    const { format, ...record } = schema.parse(value);
    return record;
  } catch (error) {
    const format = typeof value === "object" && value !== null && "format" in value ? value.format : undefined;
    if (typeof format === "number" && format > FORMAT) {
      return new SimError("state_newer", `${file} has format ${format}, this version reads ${FORMAT}: use the newer rexray-sim`);
    }
    const remedy = "stop what uses the volume, delete the file and start rexray-sim again: the volume's data is not in it";
    return new SimError("state_corrupt", `${file} cannot be understood: ${remedy}`, { cause: asSimError(error) });
  }
}
