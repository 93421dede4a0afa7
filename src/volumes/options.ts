import { SimError } from "../lib/errors.ts";
import { parseSize } from "../lib/size.ts";

/** What a volume is when its creator does not say. */
export interface CreateDefaults {
  readonly sizeBytes: number;
  readonly fsType: string;
  /** Pool name, "" for the only one. */
  readonly type: string;
  readonly iops: number;
}

const FS_TYPES = ["ext4", "xfs"];

/** Options of REX-Ray that need something this version does not have, and what. */
const REFUSED: Readonly<Record<string, string>> = {
  volumename: "the name is the volume's own",
  volumeid: "volumes cannot be made from volumes yet",
  snapshotname: "volumes cannot be made from snapshots yet",
  snapshotid: "volumes cannot be made from snapshots yet",
  encryptionkey: "encryption is not simulated",
};

const KNOWN = [
  "size",
  "type",
  "volumetype",
  "iops",
  "availabilityzone",
  "newfstype",
  "fstype",
  "overwritefs",
  "encrypted",
];

/**
 * Reads the options of a create call (spec/rexray.md 4). Keys are case-insensitive. What REX-Ray would take silently, and
 * do nothing with, is refused: a typing error must not make a volume of the wrong size. `strict`: unknown keys are taken
 * silently, as upstream. Throws invalid_argument.
 */
export function parseCreateOptions(
  options: Readonly<Record<string, string>>,
  defaults: CreateDefaults,
  { strict = false } = {},
): CreateDefaults {
  const given = new Map<string, string>();
  for (const [key, value] of Object.entries(options)) {
    const lower = key.toLowerCase();
    if (given.has(lower)) throw refuse(`option "${key}" is given twice, in different cases: give it once`);
    if (strict && !KNOWN.includes(lower)) continue;
    if (REFUSED[lower] !== undefined)
      throw refuse(`option "${key}" cannot be honoured: ${REFUSED[lower]}; leave it out`);
    if (!KNOWN.includes(lower)) throw refuse(`unknown option "${key}": known are ${KNOWN.join(", ")}`);
    given.set(lower, value.trim());
  }
  const size = given.get("size");
  const fsType = given.get("newfstype") ?? given.get("fstype") ?? defaults.fsType;
  if (!FS_TYPES.includes(fsType))
    throw refuse(`file system "${fsType}" is not supported: use ${FS_TYPES.join(" or ")}`);
  const iops = given.get("iops") ?? "";
  if (!/^[0-9]{0,9}$/.test(iops)) throw refuse(`iops "${iops}" is not a whole number: give one from 0 (no limit)`);
  for (const key of ["overwritefs", "encrypted"]) {
    const value = given.get(key);
    if (value !== undefined && !/^(false|f|0|)$/i.test(value)) {
      throw refuse(
        `option "${key}=${value}" cannot be honoured: ${key === "encrypted" ? "encryption is not simulated" : "a new volume has nothing to overwrite"}; leave it out`,
      );
    }
  }
  return {
    sizeBytes: size === undefined ? defaults.sizeBytes : parseSize(size),
    fsType,
    type: given.get("type") ?? given.get("volumetype") ?? defaults.type,
    iops: iops === "" ? defaults.iops : Number(iops),
  };
}

const refuse = (message: string) => new SimError("invalid_argument", message);
