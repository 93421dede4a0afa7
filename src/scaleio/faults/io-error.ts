import { before, type DeviceFault, errno, ON } from "./fault-type.ts";

/** A device that answers EIO, as one with bad sectors or a loose cable does. */
export const ioError: DeviceFault = {
  help: "reads or writes answer EIO",
  attributes: { on: ON },
  filter: (files, { on }, chance) =>
    before(
      files,
      on === "read" ? ["read"] : on === "write" ? ["write", "datasync"] : ["read", "write", "datasync"],
      (operation) => {
        if (chance()) throw errno("EIO", operation);
      },
    ),
};
