import { before, type DeviceFault } from "./fault-type.ts";

const asleep = new Int32Array(new SharedArrayBuffer(4));

/** A device that takes its time. A volume's engine does one thing after the other, so its other devices wait too. */
export const slow: DeviceFault = {
  help: "every operation takes longer",
  attributes: { ms: { help: "how much longer (ms, 1 to 9999)", pattern: /^[1-9]\d{0,3}$/, default: "20" } },
  filter: (files, { ms }, chance) =>
    before(files, ["read", "write", "datasync"], () => {
      if (chance()) Atomics.wait(asleep, 0, 0, Number(ms));
    }),
};
