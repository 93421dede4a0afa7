import type { DeviceFault } from "./fault-type.ts";

/** A device that says it has written and has not. */
export const lostWrite: DeviceFault = {
  help: "writes are acknowledged and dropped; only checksums find it",
  lies: true,
  attributes: {},
  filter: (files, _attributes, chance) => ({
    ...files,
    write(...args) {
      if (!chance()) files.write(...args);
    },
  }),
};
