import fs from "node:fs";
import path from "node:path";
import t, { type Test } from "tap";
import { type RunResult, run } from "../helpers/run.ts";
import { tempDir } from "../helpers/temp-dir.ts";

// A developer breaks something in a tree of his own, a seed finds it, and he types the command that is printed then.
const ROOT = path.resolve(import.meta.dirname, "../..");

interface Mistake {
  /** The test that finds it. */
  readonly test: string;
  /** Where, below src/scaleio, and how. */
  readonly file: string;
  readonly of: string;
  readonly by: string;
  readonly env: NodeJS.ProcessEnv;
  /** What is printed, with the seed in it, and the most steps that may be left. */
  readonly replay: (seed: string) => RegExp;
}

const MISTAKES: readonly Mistake[] = [
  {
    test: "sdc/simulation.test.ts",
    file: "sdc/device-file.ts",
    of: "this.#files.punch(this.#fd, offset, length);",
    by: "this.#files.write(this.#fd, Buffer.alloc(length), 0, length, offset);",
    env: { SIMULATION_STEPS: "60", SIMULATION_SECONDS: "60" },
    replay: (seed) =>
      new RegExp(
        `^SIMULATION_SEED=${seed} SIMULATION_SEEDS=1 SIMULATION_STEPS=(\\d+,){1,9} node --import=tsx \\S+simulation\\.test\\.ts$`,
      ),
  },
  {
    test: "mappings/mappings.test.ts",
    file: "mappings.ts",
    of: "if (mappedTo !== null && mappedTo !== host) await sdc.fence(id);",
    by: "",
    env: { LIFE_SECONDS: "60" },
    replay: (seed) =>
      new RegExp(`^LIFE_SEED=${seed} LIFE_STEPS=\\d+ LIFE_SECONDS=0 node --import=tsx \\S+mappings\\.test\\.ts$`),
  },
];

function treeOf(t: Test): string {
  const dir = tempDir("replay");
  t.teardown(() => fs.rmSync(dir, { recursive: true, force: true }));
  for (const name of ["package.json", "tsconfig.json", "src", "test/helpers", "test/scaleio"])
    fs.cpSync(path.join(ROOT, name), path.join(dir, name), { recursive: true });
  fs.symlinkSync(fs.realpathSync(path.join(ROOT, "node_modules")), path.join(dir, "node_modules"));
  return dir;
}

/** A test that runs others tells them so by its environment, which is not a developer's. */
function typed(dir: string, command: string, more: NodeJS.ProcessEnv = {}): Promise<RunResult> {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(TAP|SIMULATION_|LIFE_)/.test(name)),
  );
  return run("bash", ["-c", command], { cwd: dir, env: { ...env, ...more } });
}

/** What of a failed run says which failure it is. Numbers of what went wrong may be others where fewer steps lead there. */
function failureOf({ stdout, stderr }: RunResult): { seed: string; failure: string; replay: string } {
  const [, seed = "", failure = stderr] = /not ok \d+ - seed (\d+): (.*?)(?: {2,}at |\n)/.exec(stdout) ?? [];
  const [, replay = ""] = /^ *# replay: (.*)$/m.exec(stdout) ?? [];
  return { seed, failure: failure.replaceAll(/\d+/g, "N"), replay };
}

for (const { test, file, of, by, env, replay: printed } of MISTAKES)
  t.test(`the command that a failing seed of ${test} prints fails as it did`, { timeout: 90_000 }, async (t) => {
    const dir = treeOf(t);
    const source = path.join(dir, "src/scaleio", file);
    const whole = fs.readFileSync(source, "utf8");
    t.ok(whole.includes(of), `${file} has what is to be broken`);
    fs.writeFileSync(
      source,
      whole.replace(of, () => by),
    );

    const first = await typed(dir, `node --import=tsx test/scaleio/${test}`, env);
    t.equal(first.code, 1);
    const { seed, failure, replay } = failureOf(first);
    t.match(failure, /^(Error|AssertionError.*?): ./);
    t.match(replay, printed(seed), "in one line");
    const again = await typed(dir, replay);
    t.equal(again.code, 1);
    t.strictSame(failureOf(again), { seed, failure, replay });

    // The mistake mended, the command says so.
    fs.writeFileSync(source, whole);
    const mended = await typed(dir, replay);
    t.equal(mended.code, 0, mended.stdout);
  });
