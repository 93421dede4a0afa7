import pino from "pino";
import { printable, printableLines } from "./printable.ts";
import { localClock } from "./times.ts";

/** The logger that is handed to every part; parts derive their own with `log.child({ part: "…" })`. */
export type Log = pino.Logger;

/** What a log needs of its stream; process.stderr is one. */
export interface LogStream {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
}

/** Fields that every line has and no person asks for. */
const COMMON = new Set(["level", "time", "pid", "hostname", "msg", "err"]);

/**
 * A log of one JSON line an event, or of plain text when the stream is a terminal. What users have named can be in both, and
 * files are shown on terminals too: no control character gets through.
 *
 * @param options.level least level that is written: trace, debug, info, warn, error, fatal or silent
 * @param options.stream default: standard error, since standard output is for data
 */
export function createLog(options: { level: string; stream?: LogStream }): Log {
  const stream = options.stream ?? process.stderr;
  const write =
    stream.isTTY === true
      ? (line: string) => stream.write(plainText(line))
      : (line: string) => stream.write(printableLines(line));
  return pino({ level: options.level, base: { pid: process.pid } }, { write });
}

/** One of pino's lines for a person: time, level, message, what else was said, and the stack of an error. */
function plainText(line: string): string {
  const entry = JSON.parse(line) as Record<string, unknown> & { level: number; time: number };
  const level = (pino.levels.labels[entry.level] ?? String(entry.level)).toUpperCase().padEnd(5);
  const fields = Object.entries(entry)
    .filter(([key]) => !COMMON.has(key))
    .map(([key, value]) => ` ${key}=${printable(typeof value === "string" ? value : JSON.stringify(value))}`)
    .join("");
  const { stack, message = "" } = (entry["err"] ?? {}) as { stack?: string; message?: string };
  // The stack begins with the message, whose line breaks are not ours.
  const trace = stack === undefined ? "" : `\n${printableLines(stack.replace(message, () => printable(message)))}`;
  return `${localClock(entry.time)} ${level} ${printable(String(entry["msg"] ?? ""))}${fields}${trace}\n`;
}
