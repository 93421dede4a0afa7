/** What moves a cursor, begins an escape sequence (C1 codes do too), ends a line, or turns the direction of writing. */
const UNPRINTABLE = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;
/** The colours that our own screens are written in (cli/text.ts, cli/doctor.ts): no other sequence reaches a terminal. */
const COLOURS = [0, 31, 32, 33].map((code) => `\u001b[${code}m`);

type Kept = (char: string, at: number) => boolean;

/** JSON's escapes, so that a line of JSON means what it meant. */
const escapeUnless = (text: string, kept: Kept): string =>
  text.replace(UNPRINTABLE, (char, at: number) => {
    if (kept(char, at)) return char;
    return char === "\n" ? "\\n" : `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });

const isLayout: Kept = (char) => char === "\n" || char === "\t";

/**
 * A text of somebody else's, as it may stand in one line of a log or a screen: it can neither forge a second line nor have
 * the reader's terminal do something.
 */
export const printable = (text: string): string => escapeUnless(text, () => false);

/** The same for several lines. */
export const printableLines = (text: string): string => escapeUnless(text, isLayout);

/** The same for what is written to a person's screen, our own colours included. */
export const screenText = (text: string): string =>
  escapeUnless(
    text,
    (char, at) => isLayout(char, at) || COLOURS.some((colour) => char === colour[0] && text.startsWith(colour, at)),
  );
