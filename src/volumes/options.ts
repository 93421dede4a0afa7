import { SimError } from "../lib/errors.ts";
import { parseSize } from "../lib/size.ts";

/** What a volume is when its creator does not say. */
export interface CreateDefaults {
  readonly sizeBytes: number;
  readonly fsType: string;
  /** Pool name, "" for the only one. */
  readonly type: string;
  readonly iops: number;
  /** All their capacity is set aside at once (REX-Ray's `scaleio.thinOrThick`). */
  readonly thick: boolean;
}

const FS_TYPES = ["ext4", "xfs"];

/** What a create call asks for. */
export interface CreateOptions extends CreateDefaults {
  /** Name or id of the volume or snapshot whose content it begins with; undefined: it begins empty. */
  readonly source: string | undefined;
  /** The size was asked for, not assumed. */
  readonly sized: boolean;
  /** So was the file system. */
  readonly formatted: boolean;
}

/** Options of REX-Ray that need something this version does not have, and what. */
const REFUSED: Readonly<Record<string, string>> = {
  encryptionkey: "encryption is not simulated",
};

/** All mean the same: a snapshot is a volume here, as it is in ScaleIO. */
const SOURCES = ["volumename", "volumeid", "snapshotname", "snapshotid"];

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
  ...SOURCES,
];

/**
 * Reads the options of a create call (spec/rexray.md 4). Keys are case-insensitive. What REX-Ray would take silently, and
 * do nothing with, is refused: a typing error must not make a volume of the wrong size. `strict`: unknown keys are taken
 * silently, as upstream (which does nothing with sources either). Throws invalid_argument.
 */
export function parseCreateOptions(
  options: Readonly<Record<string, string>>,
  defaults: CreateDefaults,
  { strict = false } = {},
): CreateOptions {
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
  const asked = given.get("newfstype") ?? given.get("fstype");
  const fsType = asked ?? defaults.fsType;
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
  const sources = SOURCES.filter((key) => (given.get(key) ?? "") !== "");
  if (sources.length > 1) throw refuse(`options ${sources.join(" and ")} name two sources: give one`);
  return {
    source: given.get(sources[0] ?? ""),
    sized: size !== undefined,
    formatted: asked !== undefined,
    sizeBytes: size === undefined ? defaults.sizeBytes : parseSize(size),
    fsType,
    type: given.get("type") ?? given.get("volumetype") ?? defaults.type,
    iops: iops === "" ? defaults.iops : Number(iops),
    thick: defaults.thick,
  };
}

const refuse = (message: string) => new SimError("invalid_argument", message);
