import fs from "node:fs";
import path from "node:path";
import t from "tap";
import { DIFFERENT, ROWS } from "./conformance-rows.ts";

/** The numbers of tests: `t.test("12 …` and entries of tables of tests, `[12, "…` or `["12 …`. */
const NUMBERS = /(?:\.test\(\s*["'`]|^\s*\[\s*["'`]?)(?<number>\d{1,3})(?: [^"'`]*["'`]|,\s*["'])/gm;

/** Whose numbers are another table's (spec/dvdcli.md 8). */
const OTHERS = ["isolator.test.ts"];

const dir = import.meta.dirname;
const found = fs
  .readdirSync(dir)
  .filter((name) => name.endsWith(".test.ts") && ![...OTHERS, path.basename(import.meta.filename)].includes(name))
  .flatMap((name) => [...fs.readFileSync(path.join(dir, name), "utf8").matchAll(NUMBERS)])
  .map(({ groups }) => Number(groups?.["number"]));
const wanted = ROWS.flatMap(([from, to]) => Array.from({ length: to - from + 1 }, (_, index) => from + index));

t.test("every row of the table has a test of its own", async (t) => {
  t.same(
    wanted.filter((number) => !found.includes(number)),
    [],
    "rows without a test",
  );
  t.same(
    [...new Set(found)].filter((number) => !wanted.includes(number)),
    [],
    "tests of rows that there are not",
  );
});

t.test("what is deliberately different is in the README's table", async (t) => {
  const readme = fs.readFileSync(path.join(dir, "../../README.md"), "utf8");
  for (const [number, line] of Object.entries(DIFFERENT)) t.ok(readme.includes(`| ${line} |`), `${number}: ${line}`);
});
