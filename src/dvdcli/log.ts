import { printable, printableLines } from "../lib/printable.ts";

/** The log lines of the original, on stderr (spec/dvdcli.md 2.4). */
export type Level = "info" | "warning" | "error";

const COLORED = { info: ["INFO", 34], warning: ["WARN", 33], error: ["ERRO", 31] } as const;

export class Log {
  readonly #began = Date.now();
  readonly #write: (text: string) => void;
  readonly #colored: boolean;

  /** @param colored stdout is a terminal, although the lines go to stderr: so the original decides */
  constructor(write: (text: string) => void, colored: boolean) {
    this.#write = write;
    this.#colored = colored;
  }

  /** One line; at most one field. What a plugin says may not drive the terminal, as it may with the original. */
  line(level: Level, message: string, field?: readonly [name: string, value: string]): void {
    if (this.#colored) {
      const [word, color] = COLORED[level];
      const seconds = String(Math.floor((Date.now() - this.#began) / 1000)).padStart(4, "0");
      const tail = field === undefined ? "" : ` \x1b[${color}m${field[0]}\x1b[0m=${printable(field[1])}`;
      this.#write(`\x1b[${color}m${word}\x1b[0m[${seconds}] ${printableLines(message).padEnd(44)} ${tail}\n`);
      return;
    }
    const tail = field === undefined ? "" : `${field[0]}=${quote(field[1])} `;
    this.#write(`time="${rfc3339(new Date())}" level=${level} msg=${quote(message)} ${tail}\n`);
  }
}

/** Bare when it is all letters, digits, dots and dashes; else as Go's %q writes it. */
function quote(text: string): string {
  if (/^[A-Za-z0-9.-]*$/.test(text)) return text;
  return `"${text.replace(/["\\\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu, escaped)}"`;
}

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  "\\": "\\\\",
  "\x07": "\\a",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\v": "\\v",
};

function escaped(char: string): string {
  const known = ESCAPES[char];
  if (known !== undefined) return known;
  const code = char.codePointAt(0) as number;
  if (code < 0x80) return `\\x${code.toString(16).padStart(2, "0")}`;
  return code > 0xffff ? `\\U${code.toString(16).padStart(8, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
}

function rfc3339(date: Date): string {
  const two = (value: number) => String(value).padStart(2, "0");
  const offset = -date.getTimezoneOffset();
  const zone =
    offset === 0
      ? "Z"
      : `${offset < 0 ? "-" : "+"}${two(Math.floor(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`;
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day}T${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}${zone}`;
}
