import fs from "node:fs";
import path from "node:path";
import { build } from "esbuild";
import type { Test } from "tap";
import { tempDir } from "./temp-dir.ts";

/** Seeds within which a simulation has to notice that what it simulates is broken. */
const MOST_SEEDS = Number(process.env["TEETH_SEEDS"] ?? 1000);
/** Seeds with which it must not find anything in what is not. */
const CONTROL_SEEDS = 5;

/** A replacement that breaks an invariant. */
export interface Mutation {
  readonly invariant: string;
  /** The source file, below the bite's `sources`. */
  readonly file: string;
  readonly of: string;
  readonly by: string;
  /** A seed that has found it, if it takes many: tried first. */
  readonly seed?: number;
}

/** One seeded life of a length, or of these steps; throws when something is wrong with it. */
type Simulation<Steps> = new (seed: number) => { run(steps: Steps): void | Promise<void> };

/** A simulation, and what it must not let pass. */
export interface Bite<Steps> {
  /** The module that exports `Simulation`. */
  readonly simulation: string;
  readonly sources: string;
  /** What each life is told. */
  readonly steps: Steps;
  readonly mutations: readonly Mutation[];
}

/**
 * A simulation is worth something only if it catches what is broken. Each mutation breaks one invariant (design.md 3) by one
 * replacement in a source; some seed has to find it out.
 */
export async function testTeeth<Steps>(t: Test, { simulation, sources, steps, mutations }: Bite<Steps>): Promise<void> {
  const dir = tempDir("teeth");
  t.teardown(() => fs.rmSync(dir, { recursive: true, force: true }));
  const Whole = await bundled<Steps>(simulation, path.join(dir, "whole.mjs"), () => undefined);
  t.equal(await foundOut(Whole, steps, CONTROL_SEEDS), "", "nothing, while nothing is broken");
  for (const [index, { invariant, file, of, by, seed }] of mutations.entries()) {
    const source = path.join(sources, file);
    let used = false;
    const Broken = await bundled<Steps>(simulation, path.join(dir, `${index}.mjs`), (loaded) => {
      if (loaded !== source) return undefined;
      const text = fs.readFileSync(source, "utf8");
      if (!text.includes(of)) throw new Error(`${file} has no longer: ${of}`);
      used = true;
      return text.replace(of, () => by);
    });
    if (!used) throw new Error(`${simulation} does not use ${source}`);
    const found = await foundOut(Broken, steps, MOST_SEEDS, seed);
    t.ok(found, `${invariant}: found out by ${found || "nothing"}`);
  }
}

/** The first seed that finds something, and what; "": none does. */
async function foundOut<Steps>(Life: Simulation<Steps>, steps: Steps, seeds: number, first = 1): Promise<string> {
  for (const seed of [first, ...Array.from({ length: seeds }, (_, index) => index + 1)]) {
    try {
      await new Life(seed).run(steps);
    } catch (error) {
      return `seed ${seed}, ${error instanceof Error ? error.message : error}`;
    }
  }
  return "";
}

/** @param replaced the text to take instead of a source file's own */
async function bundled<Steps>(
  simulation: string,
  out: string,
  replaced: (file: string) => string | undefined,
): Promise<Simulation<Steps>> {
  await build({
    entryPoints: [simulation],
    outfile: out,
    bundle: true,
    platform: "node",
    format: "esm",
    logLevel: "silent",
    // For what the packages in the bundle require.
    banner: { js: `import { createRequire } from "node:module"; const require = createRequire(import.meta.url);` },
    plugins: [
      {
        name: "break",
        setup: ({ onLoad }) =>
          onLoad({ filter: /\.ts$/ }, ({ path: file }) => {
            const contents = replaced(file);
            return contents === undefined ? undefined : { contents, loader: "ts" };
          }),
      },
    ],
  });
  return ((await import(out)) as { Simulation: Simulation<Steps> }).Simulation;
}
