import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { z } from "zod";
import { removeFile, replaceFile } from "../lib/atomic-file.ts";
import { errnoOf, SimError } from "../lib/errors.ts";

const FORMAT = 1;
const SUFFIX = ".json";

const schema = z.strictObject({
  format: z.literal(FORMAT),
  volumeId: z.string(),
  device: z.string(),
  uses: z.array(z.strictObject({ id: z.string(), count: z.int().positive() })),
  formatting: z.boolean(),
});

/** What is kept of a volume that is being mounted or is mounted. */
export interface UseRecord {
  /** The driver's id: another volume of the same name has nothing to do with this record. */
  readonly volumeId: string;
  /** Device that is mounted, or about to be, at the volume's place; "" for none. */
  readonly device: string;
  /** Uses by mount id; "" for callers that send none. */
  readonly uses: ReadonlyMap<string, number>;
  /** mkfs has begun and nobody has been given the volume since: what is on the device is not a user's yet. */
  readonly formatting: boolean;
}

/**
 * Who uses which volume, one small file a volume, on disk before an answer is given (docker-volume-plugin.md 8.2). A volume
 * without a record is not in use. A record that cannot be understood blocks its own volume only, until somebody has dealt
 * with the file.
 */
export class Uses {
  readonly #directory: string;
  readonly #records = new Map<string, UseRecord | SimError>();

  constructor(directory: string) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    for (const entry of readdirSync(directory)) {
      if (entry.startsWith(".") || !entry.endsWith(SUFFIX)) continue;
      this.#read(entry.slice(0, -SUFFIX.length));
    }
  }

  names(): string[] {
    return [...this.#records.keys()];
  }

  /** Throws state_corrupt or state_newer when the volume's record cannot be understood. */
  get(name: string, volumeId: string): UseRecord | undefined {
    if (this.#records.get(name) instanceof SimError) this.#read(name);
    const record = this.#records.get(name);
    if (record instanceof SimError) throw record;
    return record?.volumeId === volumeId ? record : undefined;
  }

  /** As it is, for clearing up: a record that cannot be understood counts as none. */
  find(name: string): UseRecord | undefined {
    const record = this.#records.get(name);
    return record instanceof SimError ? undefined : record;
  }

  async set(name: string, record: UseRecord): Promise<void> {
    const uses = [...record.uses].map(([id, count]) => ({ id, count }));
    await replaceFile(this.#file(name), `${JSON.stringify({ format: FORMAT, ...record, uses }, undefined, 2)}\n`);
    this.#records.set(name, record);
  }

  /** A record that cannot be understood stays, for a person to look at. */
  async delete(name: string): Promise<void> {
    if (this.find(name) === undefined) return;
    await removeFile(this.#file(name));
    this.#records.delete(name);
  }

  #file(name: string): string {
    return path.join(this.#directory, `${name}${SUFFIX}`);
  }

  #read(name: string): void {
    const record = readRecord(this.#file(name));
    if (record === undefined) this.#records.delete(name);
    else this.#records.set(name, record);
  }
}

/** All uses together. */
export const total = (uses: UseRecord["uses"]): number => [...uses.values()].reduce((sum, count) => sum + count, 0);

function readRecord(file: string): UseRecord | SimError | undefined {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, "utf8"));
    const { volumeId, device, uses, formatting } = schema.parse(value);
    return { volumeId, device, uses: new Map(uses.map(({ id, count }) => [id, count])), formatting };
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    const format = typeof value === "object" && value !== null && "format" in value ? value.format : undefined;
    if (typeof format === "number" && format > FORMAT) {
      return new SimError(
        "state_newer",
        `${file} has format ${format}, this version reads ${FORMAT}: use the newer rexray-sim`,
      );
    }
    const remedy = "stop what uses the volume and delete the file; it only says who uses the volume, no data is in it";
    return new SimError("state_corrupt", `${file} cannot be understood: ${remedy}`, { cause: error });
  }
}
