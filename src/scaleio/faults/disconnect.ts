import { before, type DeviceFault, errno } from "./fault-type.ts";

/** A node that cannot be reached: whoever asks it for anything learns so only then. */
export const disconnect: DeviceFault = {
  help: "nothing reaches the node, and nothing tells the MDM until somebody tries",
  attributes: {},
  filter: (files, _attributes, chance) =>
    before(files, ["open", "read", "write", "datasync", "punch"], () => {
      if (chance()) throw errno("EHOSTUNREACH", "no way to the SDS");
    }),
};
