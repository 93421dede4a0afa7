import type { SystemFault } from "./system-fault.ts";

const PREFIX = "mdm-";

/** With one member down all goes on; with two the cluster takes no changes, and I/O goes on. */
export const mdmDown: SystemFault = {
  help: "a member of the MDM cluster is down",
  attributes: {},
  steady: true,
  targets: () => ["1", "2", "3"].map((member) => PREFIX + member),
  apply: (system, faults) => system.mdmDown(faults.map(({ target }) => target.slice(PREFIX.length))),
};
