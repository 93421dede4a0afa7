import type { SimError } from "../lib/errors.ts";
import { printable } from "../lib/printable.ts";

/**
 * The one status of all refusals. The engine treats every status but 200 alike (docker-volume-plugin.md 3), REX-Ray answers
 * 500 to all but what it cannot parse (spec/rexray.md 4), and clients have seen nothing else.
 */
export const REFUSED = 500;

/** REX-Ray's form: `docker-legacy: Mount: VOLUME: failed: CAUSE`; List names no volume. It ends on a terminal. */
export function errorText(operation: string, volume: string | undefined, error: SimError): string {
  const subject = volume === undefined ? "" : `${volume.length > 80 ? `${volume.slice(0, 80)}…` : volume}: `;
  return printable(`docker-legacy: ${operation}: ${subject}failed: ${error.message}`);
}
