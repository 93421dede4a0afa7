import t from "tap";
import { shrink } from "./simulation/shrink.ts";

const steps = [...Array(300).keys()];
const failsWith = (wrong: (some: readonly number[]) => boolean) => async (some: readonly number[]) => {
  if (wrong(some)) throw new Error("this life fails");
};

t.test("a life that fails by some of its steps is shrunk to these", async (t) => {
  t.same(
    await shrink(
      steps,
      failsWith((some) => some.includes(7) && some.includes(211)),
    ),
    [7, 211],
  );
});

t.test("what is left is in order, and fails", async (t) => {
  const wrong = (some: readonly number[]) => some.filter((step) => step % 3 === 0).length >= 5;
  const left = await shrink(steps, failsWith(wrong));
  t.equal(left.length, 5);
  t.same(
    left,
    left.toSorted((a, b) => a - b),
  );
  t.ok(wrong(left));
});

t.test("no longer than it may", async (t) => {
  t.same(
    await shrink(
      steps,
      failsWith(() => true),
      0,
    ),
    steps,
  );
});
