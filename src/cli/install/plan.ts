import fs from "node:fs";
import path from "node:path";
import { SimError } from "../../lib/errors.ts";
import { type Completion, PROGRAMS } from "../completion.ts";

/** A file to be installed: with this text, or a symbolic link. */
export type Planned = {
  /** Without the staging root. */
  readonly path: string;
} & ({ readonly text: string; readonly mode: number } | { readonly link: string });

export interface PlanOptions {
  /** The directory of this package. */
  readonly from: string;
  readonly prefix: string;
  /** Path of Node. */
  readonly node: string;
  /** Makes a completion script. */
  readonly completion: (which: Completion) => string;
}

const UNITS = ["rexray-sim.service", "rexray-sim.socket"];
const SYSTEMD = "/etc/systemd/system";

/** Everything that an installation consists of. Throws not_found when the programs have not been built. */
export function plan({ from, prefix, node, completion }: PlanOptions): Planned[] {
  // The same below it as in the package: the programs find one another by that, and can install themselves again.
  const home = path.join(prefix, "lib/rexray-sim");
  const bin = path.join(home, "dist/bin");
  const program = (name: string) => path.join(bin, `${name}.js`);
  const unit = (name: string) => read(path.join(from, "plugin", name));
  const filled = (text: string) => text.replaceAll("@NODE@", node).replaceAll("@PROGRAM@", program("rexray-sim"));
  const share = path.join(prefix, "share");
  return [
    ...built(path.join(from, "dist/bin")).map(({ name, text }) => ({
      path: path.join(bin, name),
      // Whoever calls it, with whatever PATH, gets the Node that it was installed with.
      text: name.endsWith(".js") ? text.replace(/^#!.*\n/, `#!${node}\n`) : text,
      mode: /\.(?:js|sh)$/.test(name) ? 0o755 : 0o644,
    })),
    ...UNITS.map((name) => ({ path: path.join(home, "plugin", name), text: unit(name), mode: 0o644 })),
    ...UNITS.map((name) => ({ path: path.join(SYSTEMD, name), text: filled(unit(name)), mode: 0o644 })),
    ...PROGRAMS.map((name) => ({
      path: path.join(prefix, "bin", name),
      link: path.relative(path.join(prefix, "bin"), program(name)),
    })),
    ...PROGRAMS.flatMap((program) => [
      {
        path: path.join(share, "bash-completion/completions", program),
        text: completion({ shell: "bash", program }),
        mode: 0o644,
      },
      {
        path: path.join(share, `zsh/site-functions/_${program}`),
        text: completion({ shell: "zsh", program }),
        mode: 0o644,
      },
    ]),
  ];
}

/** What scripts/build makes; a build that runs just now has other files there, too. */
function built(dir: string): { name: string; text: string }[] {
  const all = fs.existsSync(dir) ? fs.readdirSync(dir) : [];
  const names = all.filter((name) => /^[\w-]+\.(?:js|sh)$|^package\.json$/.test(name));
  const missing = PROGRAMS.map((name) => `${name}.js`).find((name) => !names.includes(name));
  if (missing !== undefined) {
    throw new SimError("not_found", `${path.join(dir, missing)} is missing: build it first, with \`npm run build\``);
  }
  return names.map((name) => ({ name, text: read(path.join(dir, name)) }));
}

function read(file: string): string {
  try {
    return fs.readFileSync(file, "utf8");
  } catch (error) {
    throw new SimError("not_found", `cannot read ${file}, which belongs to this package: install it anew`, {
      cause: error,
    });
  }
}
