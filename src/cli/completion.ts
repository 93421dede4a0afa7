import type { Command } from "commander";
import { bashCompletion } from "./completion/bash.ts";
import { levelsOf } from "./completion/levels.ts";
import { zshCompletion } from "./completion/zsh.ts";

/** The shells that can complete our command lines. */
export const SHELLS = ["bash", "zsh"] as const;

export type Shell = (typeof SHELLS)[number];

/** A script that completes the program's commands and options in a shell. Made from the program itself, so it lacks none. */
export function completionScript(program: Command, shell: Shell): string {
  const levels = levelsOf(program);
  return shell === "bash" ? bashCompletion(program.name(), levels) : zshCompletion(program.name(), levels);
}
