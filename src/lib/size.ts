import { SimError } from "./errors.ts";

/** Units are binary, as everywhere in ScaleIO and REX-Ray: 1 GB is 1024 MB (spec/scaleio.md). */
const UNITS = { m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4 } as const;
const LARGEST = 1024 ** 5;
const RULE = 'a size is a whole number of GB, or has a unit: "16", "16g", "16GB", "16GiB", "512M", "1T"';

/** A size that a person wrote, in bytes. Throws invalid_argument naming the text, the rule and the remedy. */
export function parseSize(text: string): number {
  const match = /^([0-9]+) ?(?:([mgt])(?:i?b)?)?$/i.exec(text.trim());
  const refuse = (why: string) => new SimError("invalid_argument", `size "${text.slice(0, 40)}" ${why}: ${RULE}`);
  if (match === null) throw refuse("is not a size");
  const bytes = Number(match[1]) * UNITS[(match[2] ?? "g").toLowerCase() as keyof typeof UNITS];
  if (bytes === 0) throw refuse("is zero");
  if (bytes > LARGEST) throw refuse("is beyond the largest volume, 1 PB");
  return bytes;
}
