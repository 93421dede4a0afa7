/**
 * What is asked of Marathon's stand-in, by number (spec/marathon.md 10): every number has a test whose name begins with it, in
 * one of the files beside this one. conformance.test.ts compares.
 */
export const ROWS: readonly (readonly [from: number, to: number, what: string])[] = [
  [1, 58, "external volumes: what is valid"],
  [59, 67, "external volumes: across applications, and updates"],
  [68, 81, "external volumes: what is run"],
  [82, 106, "the API"],
  [107, 120, "life cycle"],
];

/** Rows that are deliberately different, each with the line of the README's table of differences that says so. */
export const DIFFERENT: Readonly<Record<number, string>> = {
  39: "the object in Marathon's message about the number of instances",
  41: "the object in Marathon's message about the number of instances",
};
