import type { Command } from "commander";
import { isNamed } from "../complete.ts";

/** What can be typed after a command's words: one entry for the program and for each command. */
export interface Level {
  /** The words so far, the program's name included. */
  readonly path: string;
  /** Commands, or the values that a first argument may have. */
  readonly words: readonly Word[];
  readonly options: readonly Word[];
  /** Those of the options that take the next word. */
  readonly valued: readonly string[];
  /** What its arguments are called: those that `complete` knows can be asked of the running instance. */
  readonly args: readonly string[];
}

export interface Word {
  readonly word: string;
  readonly help: string;
}

/** Every level of a program, from the outside in. */
export function levelsOf(command: Command, above: readonly string[] = []): Level[] {
  const path = [...above, command.name()];
  const help = command.createHelp();
  const options = help.visibleOptions(command).map(({ short, long, required, optional, description }) => ({
    names: [short, long].filter((name) => name !== undefined),
    valued: required || optional,
    help: description,
  }));
  const commands = help.visibleCommands(command);
  const choices = command.registeredArguments[0]?.argChoices ?? [];
  // The `help` that commander adds by itself is listed, but not among the commands.
  const level: Level = {
    path: path.join(" "),
    words:
      commands.length > 0
        ? commands.map((each) => ({ word: each.name(), help: each.description() }))
        : choices.map((word) => ({ word, help: "" })),
    options: options.flatMap(({ names, help }) => names.map((word) => ({ word, help }))),
    valued: options.filter(({ valued }) => valued).flatMap(({ names }) => names),
    args: command.registeredArguments.map((argument) => (isNamed(argument.name()) ? argument.name() : "-")),
  };
  // After the first argument the others come, and the same options.
  const chosen = choices.map((word) => ({
    ...level,
    path: `${level.path} ${word}`,
    words: [],
    args: level.args.slice(1),
  }));
  return [level, ...chosen, ...command.commands.flatMap((each) => levelsOf(each, path))];
}
