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
    return new Set(
      this.#directories.filter((directory) => fs.existsSync(directory)).flatMap((dir) => fs.readdirSync(dir)),
    );
  }

  /** From now on these, and no others. */
  replace(names: readonly string[]): void {
    const wanted = new Set(names);
    for (const directory of this.#directories) fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
    for (const name of this.read()) if (!wanted.has(name)) this.remove(name);
    for (const name of wanted) this.add(name);
  }

  add(name: string): void {
    for (const directory of this.#directories) fs.writeFileSync(path.join(directory, name), "", { mode: 0o600 });
  }

  remove(name: string): void {
    for (const directory of this.#directories) fs.rmSync(path.join(directory, name), { force: true });
  }
}
