import fs from "node:fs";
import path from "node:path";

/**
 * The names of all volumes, kept apart from the state that describes them: enough for a daemon that cannot open its state to
 * keep Docker from taking the volumes for gone. An empty file for each name, in every one of the directories: which of them
 * will be within reach is not known before.
 */
export class NameBook {
  readonly #directories: readonly string[];

  constructor(directories: readonly string[]) {
    this.#directories = directories;
  }

  /** The names in any of the directories. */
  read(): Set<string> {
    return new Set(this.#directories.flatMap(namesIn));
  }

  /** From now on these, and no others. */
  replace(names: readonly string[]): void {
    const wanted = new Set(names);
    for (const directory of this.#directories) {
      fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
      const there = new Set(namesIn(directory));
      for (const name of wanted) if (!there.has(name)) write(directory, name);
      for (const name of there) if (!wanted.has(name)) remove(directory, name);
    }
  }

  add(name: string): void {
    for (const directory of this.#directories) write(directory, name);
  }

  remove(name: string): void {
    for (const directory of this.#directories) remove(directory, name);
  }
}

const namesIn = (directory: string) => (fs.existsSync(directory) ? fs.readdirSync(directory) : []);
const write = (directory: string, name: string) => fs.writeFileSync(path.join(directory, name), "", { mode: 0o600 });
const remove = (directory: string, name: string) => fs.rmSync(path.join(directory, name), { force: true });
