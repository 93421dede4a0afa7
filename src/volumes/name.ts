import { SimError } from "../lib/errors.ts";

const LONGEST = 255 - ".json".length;

/**
 * Docker hands plugins any name (docker-volume-plugin.md 10); these are the ones that are good as a directory and that
 * Docker's own driver takes. Throws invalid_argument.
 */
export function checkVolumeName(name: string): void {
  const shown = JSON.stringify(name.length > 60 ? `${name.slice(0, 60)}…` : name);
  if (name === "") throw new SimError("invalid_argument", "invalid volume name: it is empty; give the volume a name");
  if (name.length > LONGEST)
    throw new SimError(
      "invalid_argument",
      `invalid volume name ${shown}: it has ${name.length} characters; use at most ${LONGEST}`,
    );
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(name)) {
    throw new SimError(
      "invalid_argument",
      `invalid volume name ${shown}: use letters, digits, "_", "." and "-", beginning with a letter or digit`,
    );
  }
}
