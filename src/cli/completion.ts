import type { Command } from "commander";
import { bashCompletion } from "./completion/bash.ts";
import { dvdcliLevels } from "./completion/dvdcli.ts";
import { levelsOf } from "./completion/levels.ts";
import { zshCompletion } from "./completion/zsh.ts";

/** The shells that can complete our command lines. */
export const SHELLS = ["bash", "zsh"] as const;
export const PROGRAMS = ["rexray-sim", "dvdcli"] as const;

/** A script that completes a program's command lines in a shell. */
export interface Completion {
  readonly shell: (typeof SHELLS)[number];
  readonly program: (typeof PROGRAMS)[number];
}

/** Made from the programs themselves, so it lacks none of their commands and options. `own` is our own. */
export function completionScript(own: Command, { shell, program }: Completion): string {
  const levels = program === "dvdcli" ? dvdcliLevels() : levelsOf(own);
  return shell === "bash" ? bashCompletion(program, levels) : zshCompletion(program, levels);
}
