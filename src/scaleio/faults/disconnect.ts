import { before, type DeviceFault, errno } from "./fault-type.ts";

/** A node that cannot be reached. An engine finds out when it asks it for something, the MDM by its keep-alives. */
export const disconnect: DeviceFault = {
  help: "nothing reaches the node; it is decoupled when it has been silent for 2 s, and back when it answers",
  attributes: {},
  filter: (files, _attributes, chance) =>
    before(files, ["open", "read", "write", "datasync", "punch"], () => {
      if (chance()) throw errno("EHOSTUNREACH", "no way to the SDS");
    }),
};
