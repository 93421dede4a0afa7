import { before, type DeviceFault, errno, type Operation } from "./fault-type.ts";

const OPERATIONS: Readonly<Record<string, readonly Operation[]>> = {
  read: ["read"],
  write: ["write", "datasync"],
  sync: ["datasync"],
  both: ["read", "write", "datasync"],
};

/** A device that answers EIO, as one with bad sectors or a loose cable does. */
export const ioError: DeviceFault = {
  help: "reads, writes or syncs answer EIO",
  attributes: {
    on: {
      help: "read, write, sync (what was written may be lost) or both",
      pattern: /^(read|write|sync|both)$/,
      default: "both",
    },
  },
  filter: (files, { on = "both" }, chance) =>
    before(files, OPERATIONS[on] ?? [], (operation) => {
      if (chance()) throw errno("EIO", operation);
    }),
};
