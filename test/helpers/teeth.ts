import fs from "node:fs";
import path from "node:path";
import { build } from "esbuild";
import type { Test } from "tap";
import { tempDir } from "./temp-dir.ts";

/** Seeds within which a simulation has to notice that what it simulates is broken. */
const MOST_SEEDS = Number(process.env["TEETH_SEEDS"] ?? 1000);

/** A replacement that breaks an invariant. */
export interface Mutation {
  readonly invariant: string;
  /** The source file, below the bite's `sources`. */
  readonly file: string;
  readonly of: string;
  readonly by: string;
}

/** One seeded life of a length, or of these steps; throws when something is wrong with it. */
interface Life<Steps> {
  run(steps: Steps): void | Promise<void>;
}

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
  for (const [index, mutation] of mutations.entries()) {
    const Broken = await broken<Steps>(
      simulation,
      path.join(sources, mutation.file),
      mutation,
      path.join(dir, `${index}.mjs`),
    );
    let found = "";
    for (let seed = 1; seed <= MOST_SEEDS && found === ""; seed++) {
      try {
        await new Broken(seed).run(steps);
      } catch (error) {
        found = `seed ${seed}, ${error instanceof Error ? error.message : error}`;
      }
    }
    t.ok(found, `${mutation.invariant}: found out by ${found || "nothing"}`);
  }
}

async function broken<Steps>(
  simulation: string,
  source: string,
  { of, by }: Pick<Mutation, "of" | "by">,
  out: string,
): Promise<new (seed: number) => Life<Steps>> {
  let found = false;
  await build({
    entryPoints: [simulation],
    outfile: out,
    bundle: true,
    platform: "node",
    format: "esm",
    // For what the packages in the bundle require.
    banner: { js: `import { createRequire } from "node:module"; const require = createRequire(import.meta.url);` },
    logLevel: "silent",
    plugins: [
      {
        name: "break",
        setup: ({ onLoad }) =>
          onLoad({ filter: /\.ts$/ }, ({ path: file }) => {
            if (file !== source) return undefined;
            const text = fs.readFileSync(file, "utf8");
            if (!text.includes(of)) throw new Error(`${path.basename(file)} has no longer: ${of}`);
            found = true;
            return { contents: text.replace(of, () => by), loader: "ts" };
          }),
      },
    ],
  });
  if (!found) throw new Error(`${simulation} does not use ${source}`);
  return ((await import(out)) as { Simulation: new (seed: number) => Life<Steps> }).Simulation;
}
