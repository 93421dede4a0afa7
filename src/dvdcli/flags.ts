/** What the flags of one call say. */
export interface Flags {
  volumedriver: string;
  volumename: string;
  /** Each occurrence split at commas, in order (spec/dvdcli.md 5). */
  volumeopts: string[];
  explicitcreate: boolean;
  help: boolean;
}

/** A command line that the original answers with usage and exit status 0. */
export class FlagError extends Error {}

const TRUE = ["1", "t", "T", "TRUE", "true", "True"];
const FALSE = ["0", "f", "F", "FALSE", "false", "False"];
const BOOLEANS = ["explicitcreate", "help"];

/**
 * The command among the arguments: the first that is neither a flag nor the value of one. It is taken out by its text, so a
 * flag's value of the same text goes instead (the original's quirk, spec/dvdcli.md 2.1).
 */
export function splitCommand(args: readonly string[]): { command: string | undefined; rest: string[] } {
  let value = false;
  for (const arg of args) {
    if (arg.startsWith("--") && !arg.includes("=")) value = !BOOLEANS.includes(arg.slice(2)) && arg !== "--";
    else if (arg.startsWith("-")) value = false;
    else if (value) value = false;
    else if (arg !== "") {
      const at = args.indexOf(arg);
      return { command: arg, rest: [...args.slice(0, at), ...args.slice(at + 1)] };
    }
  }
  return { command: undefined, rest: [...args] };
}

/** Reads flags as the original's library does: anywhere, `--f=v` or `--f v`, the last one wins. Throws FlagError. */
export function parseFlags(args: readonly string[], allowed: readonly string[]): { flags: Flags; words: string[] } {
  const flags: Flags = { volumedriver: "", volumename: "", volumeopts: [], explicitcreate: false, help: false };
  const words: string[] = [];
  const known = [...allowed, "volumedriver", "volumename", "help"];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] as string;
    if (arg === "--") {
      words.push(...args.slice(i + 1));
      break;
    }
    if (arg === "-h") flags.help = true;
    else if (!arg.startsWith("-") || arg === "-") words.push(arg);
    else if (!arg.startsWith("--")) throw new FlagError(`unknown shorthand flag: '${arg[1]}' in ${arg}`);
    else {
      const [, name = "", value] = /^--([^=]*)(?:=([\s\S]*))?$/.exec(arg) ?? [];
      if (name === "" || name.startsWith("-")) throw new FlagError(`bad flag syntax: ${arg}`);
      if (!known.includes(name)) throw new FlagError(`unknown flag: --${name}`);
      if (BOOLEANS.includes(name)) flags[name as "help"] = readBoolean(name, value ?? "true");
      else {
        if (value === undefined && i + 1 >= args.length) throw new FlagError(`flag needs an argument: --${name}`);
        const text = value ?? (args[++i] as string);
        if (name === "volumeopts") flags.volumeopts.push(...text.split(","));
        else flags[name as "volumename"] = text;
      }
    }
  }
  return { flags, words };
}

function readBoolean(name: string, text: string): boolean {
  if (TRUE.includes(text)) return true;
  if (FALSE.includes(text)) return false;
  throw new FlagError(
    `invalid argument "${text}" for --${name}=${text}: strconv.ParseBool: parsing "${text}": invalid syntax`,
  );
}
