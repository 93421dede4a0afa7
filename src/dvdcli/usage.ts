/** Texts of the original's command line (spec/dvdcli.md 2.2), byte for byte. */

export const COMMANDS: Readonly<Record<string, { about: string; flags: readonly string[] }>> = {
  create: { about: "Create a volume", flags: ["volumeopts"] },
  remove: { about: "Remove a volume", flags: [] },
  mount: { about: "Mount a volume", flags: ["explicitcreate", "volumeopts"] },
  unmount: { about: "Unmount a volume", flags: [] },
  path: { about: "Path of a volume", flags: [] },
  get: { about: "Get a volume", flags: [] },
  list: { about: "List a volume", flags: [] },
  version: { about: "Print the version", flags: [] },
};

const FLAG_LINES: Readonly<Record<string, string>> = {
  explicitcreate: "      --explicitcreate[=false]: Explicit create flag to disable creating volumes that don't exist\n",
  volumeopts: "      --volumeopts=[]: Volume options\n",
};
const GLOBAL_LINES = '      --volumedriver="": Volume driver\n      --volumename="": Volume name\n';

/** @param bare there were no arguments at all: only then is -h listed */
export function rootUsage(bare: boolean): string {
  const list = Object.entries(COMMANDS).map(([name, { about }]) => `  ${name.padEnd(11)} ${about}\n`);
  return (
    `Usage:\n  dvdcli [flags]\n  dvdcli [command]\n\nAvailable Commands:\n${list.join("")}\nFlags:\n` +
    `${bare ? "  -h, --help[=false]: help for dvdcli\n" : ""}${GLOBAL_LINES}\n` +
    'Use "dvdcli [command] --help" for more information about a command.\n'
  );
}

export const rootHelp = (): string => `dvdcli:\n  A Docker Volume Driver CLI\n\n${rootUsage(false)}`;

export function commandUsage(name: string): string {
  const own = (COMMANDS[name]?.flags ?? []).map((flag) => FLAG_LINES[flag]).join("");
  return `Usage:\n  dvdcli ${name === "help" ? "help [command]" : name} [flags]\n\n${own === "" ? "" : `Flags:\n${own}\n`}Global Flags:\n${GLOBAL_LINES}`;
}

export function commandHelp(name: string): string {
  const about =
    name === "help"
      ? "Help provides help for any command in the application.\n    Simply type dvdcli help [path to command] for full details."
      : COMMANDS[name]?.about;
  return `${about}\n\n${commandUsage(name)}`;
}

/** The words about a command that does not exist, with those that may have been meant. */
export function unknownCommand(word: string): string {
  const near = Object.keys(COMMANDS).filter(
    (name) => name.startsWith(word.toLowerCase()) || distance(word.toLowerCase(), name) <= 2,
  );
  const suggestions = near.length === 0 ? "" : `\nDid you mean this?\n${near.map((name) => `\t${name}\n`).join("")}\n`;
  return `Error: unknown command "${word}" for "dvdcli"\n${suggestions}Run 'dvdcli --help' for usage.\n`;
}

function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}
