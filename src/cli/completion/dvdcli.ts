import { COMMANDS } from "../../dvdcli/usage.ts";
import type { Level } from "./levels.ts";

const HELP: Readonly<Record<string, string>> = {
  volumedriver: "volume driver",
  volumename: "volume name",
  volumeopts: "KEY=VALUE,…",
  explicitcreate: "whether only a volume that exists is mounted",
};

/** What can be typed after `dvdcli`. */
export function dvdcliLevels(): Level[] {
  const level = (path: string, words: Level["words"], flags: readonly string[]): Level => ({
    path,
    words,
    options: flags.map((flag) => ({ word: `--${flag}`, help: HELP[flag] ?? "" })),
    valued: flags.filter((flag) => flag !== "explicitcreate").map((flag) => `--${flag}`),
    args: [],
  });
  const everywhere = ["volumedriver", "volumename"];
  const words = Object.entries(COMMANDS).map(([word, { about }]) => ({ word, help: about }));
  return [
    level("dvdcli", words, everywhere),
    ...Object.entries(COMMANDS).map(([name, { flags }]) => level(`dvdcli ${name}`, [], [...everywhere, ...flags])),
  ];
}
