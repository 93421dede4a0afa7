import { stripVTControlCharacters } from "node:util";
import { screenText } from "../lib/printable.ts";
import type { Health, ServiceState } from "../scaleio/model.ts";

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** "16 GiB", "1.5 MiB", "0 B": three digits are enough for a person. */
export function bytes(count: number): string {
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = value >= 100 || Number.isInteger(value) ? 0 : 1;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

/** One line, whatever is in it: a name must not look like a row of its own. */
const oneLine = (cell: string) => screenText(cell).replaceAll("\n", "\\n");

/** Columns as wide as their widest cell, two spaces apart, a newline after each row. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows].map((row) => row.map(oneLine));
  const widths = head.map((_, column) => Math.max(...all.map((row) => visibleLength(row[column] ?? ""))));
  return all
    .map((row) => {
      const cells = row.map((cell, column) => cell + " ".repeat((widths[column] ?? 0) - visibleLength(cell)));
      return `${cells.join("  ").trimEnd()}\n`;
    })
    .join("");
}

/** Labels in a column of their own; further lines of a value are indented to it. */
export function facts(entries: readonly (readonly [label: string, ...lines: string[]])[]): string {
  const width = Math.max(...entries.map(([label]) => label.length)) + 2;
  return entries
    .flatMap(([label, ...lines]) =>
      lines.map((line, index) => `${(index === 0 ? label : "").padEnd(width)}${oneLine(line)}\n`),
    )
    .join("");
}

const COLORS: Readonly<Record<Health | ServiceState | "normal" | "unreachable", number>> = {
  ok: 32,
  up: 32,
  normal: 32,
  degraded: 33,
  stopped: 33,
  decoupled: 33,
  failed: 31,
  unreachable: 31,
};

/** A state word: green, yellow or red on a terminal, plain elsewhere. */
export function stateWord(word: keyof typeof COLORS, color: boolean): string {
  return color ? `\u001b[${COLORS[word]}m${word}\u001b[0m` : word;
}

const visibleLength = (cell: string) => stripVTControlCharacters(cell).length;

/** "1 volume", "2 volumes". */
export const count = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? "" : "s"}`;
