import { before, type DeviceFault, errno } from "./fault-type.ts";

/** A device whose disk is full: what lies on it can be read. */
export const full: DeviceFault = {
  help: "writes answer ENOSPC",
  attributes: {},
  filter: (files, _attributes, chance) =>
    before(files, ["write"], () => {
      if (chance()) throw errno("ENOSPC", "write");
    }),
};
