import fs from "node:fs";
import path from "node:path";
import t from "tap";
import { sectionOf } from "./helpers/readme.ts";

// README names the test that shows what it says, and the file that does it: they are there.
const ROOT = path.resolve(import.meta.dirname, "..");
const filesBelow = (dir: string) =>
  fs.readdirSync(path.join(ROOT, dir), { recursive: true, encoding: "utf8" }).map((file) => path.join("/", dir, file));
const TESTS = filesBelow("test").filter((file) => file.endsWith(".test.ts"));
const SOURCES = ["src", "scripts", "test", "examples", "plugin"].flatMap(filesBelow);

/** Directories of tests, as the second-last part of "cluster/nodes". */
const DIRECTORIES = [...new Set(TESTS.map((file) => path.basename(path.dirname(file))))].filter(
  (dir) => dir !== "test",
);
const NAME = new RegExp(`\`((?:${DIRECTORIES.join("|")})/[a-z-]+\\*?)\``, "g");
const named = (text: string) => [...text.matchAll(NAME)].map(([, name = ""]) => name);

/** "cluster/nodes": the tests that this is short for. */
const testsOf = (name: string) =>
  TESTS.filter((file) =>
    name.endsWith("*") ? file.includes(`/${name.slice(0, -1)}`) : file.endsWith(`/${name}.test.ts`),
  );

/** Lines of a Markdown list, continuations joined. */
const items = (text: string) =>
  text
    .split(/\n(?=- )/)
    .filter((item) => item.startsWith("- "))
    .map((item) =>
      item
        .slice(2)
        .replace(/\s*\n\s*/g, " ")
        .trim(),
    );

t.test("every test that README names is there, and no other is meant", async (t) => {
  const names = named(fs.readFileSync(path.join(ROOT, "README.md"), "utf8"));
  t.ok(names.length > 50, `${names.length} names`);
  for (const name of new Set(names)) {
    const found = testsOf(name);
    if (name.endsWith("*")) t.ok(found.length > 0, name);
    else t.equal(found.length, 1, `${name}: ${found.join(" ") || "no such test"}`);
  }
});

t.test("every source file that README names is there", async (t) => {
  const text = fs.readFileSync(path.join(ROOT, "README.md"), "utf8");
  const names = [
    ...text.matchAll(/[`(]([\w./-]+\.(?:ts|sh)|(?:src|scripts|test|examples|plugin)\/[\w./-]+)[`) ]/g),
  ].map(([, name = ""]) => name.replace(/[./]+$/, ""));
  t.ok(names.length > 25, `${names.length} names`);
  for (const name of new Set(names))
    t.ok(
      SOURCES.some((file) => file.endsWith(`/${name}`)),
      name,
    );
});

t.test("every line of what is survived names its test", async (t) => {
  const rows = sectionOf("Fault model")
    .split("\n")
    .filter((line) => line.startsWith("| "))
    .map((line) => line.split("|").map((cell) => cell.trim()))
    .filter(([, what]) => what !== "what happens" && what !== "---");
  t.ok(rows.length > 25, `${rows.length} lines`);
  for (const [, what = "", , tests = ""] of rows) t.ok(named(tests).length > 0, what);
});

/** Of which no test can say more than the line itself. */
const WITHOUT = [/^Loss of the machine's own disk/];

t.test("every line of what is not survived names the test that shows what happens then", async (t) => {
  const lines = items(sectionOf("Fault model").split("\nNot survived:\n")[1]?.split("\n\nState that")[0] ?? "");
  t.ok(lines.length > 8, `${lines.length} lines`);
  for (const line of lines) t.ok(named(line).length > 0 || WITHOUT.some((words) => words.test(line)), line);
});

t.test(
  "names of events and alerts: what is said to be never told is nowhere, what is said to be told is",
  async (t) => {
    const sources = filesBelow("src")
      .filter((file) => file.endsWith(".ts"))
      .map((file) => fs.readFileSync(path.join(ROOT, file), "utf8"))
      .join("");
    const rows = sectionOf("Differences from upstream")
      .split("\n")
      .filter((line) => /^\| (alerts|events) `/.test(line));
    t.equal(rows.length, 3);
    for (const row of rows)
      for (const [, name = ""] of row.matchAll(/`([A-Z_]+)`/g))
        t.equal(sources.includes(`"${name}"`), !row.includes("| never "), name);
  },
);
