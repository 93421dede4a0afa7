import type { Flags } from "./flags.ts";
import { text } from "./go-json.ts";
import type { Log } from "./log.ts";
import type { Plugin } from "./plugin.ts";

/** A failed call: one error line, exit status 1. `field` as in the original: only Get, Create and Remove name the volume. */
class Failure extends Error {
  constructor(
    message: string,
    readonly volume?: string,
  ) {
    super(message);
  }
}

/** Something at which the original crashes: its exit status, with words. */
export class Crash extends Error {}

export interface Call {
  readonly plugin: Plugin;
  readonly flags: Flags;
  readonly log: Log;
  readonly out: (text: string) => void;
}

type Command = (call: Call) => Promise<void>;

/** The commands, by the table of spec/dvdcli.md 2.3. After Get, the name that the plugin returned is used. */
const commands: Readonly<Record<string, Command>> = {
  async create({ plugin, flags, log }) {
    const options = readOptions(flags.volumeopts);
    await naming(flags.volumename, plugin.create(flags.volumename, options));
    log.line("info", flags.volumename);
  },

  async mount({ plugin, flags, log, out }) {
    const options = readOptions(flags.volumeopts);
    let name = flags.volumename;
    try {
      name = (await plugin.get(name)).name;
    } catch (error) {
      if (flags.explicitcreate) throw new Failure((error as Error).message, name);
      await naming(name, plugin.create(name, options));
    }
    const mountpoint = await plain(plugin.mount(name));
    log.line("info", mountpoint);
    out(`${mountpoint}\n`);
  },

  async unmount({ plugin, flags }) {
    const { name } = await naming(flags.volumename, plugin.get(flags.volumename));
    await plain(plugin.unmount(name));
  },

  async remove({ plugin, flags }) {
    const { name } = await naming(flags.volumename, plugin.get(flags.volumename));
    await naming(flags.volumename, plugin.remove(name));
  },

  async path({ plugin, flags, log, out }) {
    const { name, mountpoint } = await naming(flags.volumename, plugin.get(flags.volumename));
    const found = mountpoint || (await plugin.path(name));
    if (found === "") return;
    log.line("info", found);
    out(`${found}\n`);
  },

  async get({ plugin, flags, out }) {
    out(`${(await naming(flags.volumename, plugin.get(flags.volumename))).name}\n`);
  },

  async list({ plugin, out }) {
    for (const volume of await plain(plugin.list())) {
      if (volume === null)
        throw new Crash(
          "the plugin's list of volumes has an entry that is null: it should answer an object for each volume",
        );
      out(`${text(volume, "Name")}\n`);
    }
  },
};

/** Runs a command and answers the exit status. Throws {@link Crash}. */
export async function perform(command: string, call: Call): Promise<number> {
  try {
    await commands[command]?.(call);
    return 0;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    call.log.line("error", error.message, error.volume === undefined ? undefined : ["volumeName", error.volume]);
    return 1;
  }
}

const naming = <T>(volume: string, call: Promise<T>): Promise<T> =>
  call.catch((error: Error) => {
    throw new Failure(error.message, volume);
  });

const plain = <T>(call: Promise<T>): Promise<T> =>
  call.catch((error: Error) => {
    throw new Failure(error.message);
  });

/** `a=b` pieces; what follows a second "=" is dropped, the last of a key wins (spec/dvdcli.md 5). */
function readOptions(pieces: readonly string[]): Record<string, string> {
  const options: Record<string, string> = {};
  for (const piece of pieces) {
    const [key = "", value] = piece.split("=");
    if (value === undefined) {
      throw new Crash(
        `--volumeopts: "${piece}" has no "=": write key=value, several separated by commas; a value cannot hold a comma or a "="`,
      );
    }
    options[key] = value;
  }
  return options;
}
