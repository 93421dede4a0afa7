import type { FaultKindInfo } from "../../lib/fault.ts";
import type { Files } from "../sdc/files.ts";

/** Whether this operation meets the fault. */
export type Chance = () => boolean;

/**
 * A kind of fault on devices: a filter over the file layer, as nbdkit's filters are over a block device. One file a kind;
 * types.ts lists them. The data path of a device without faults has no filter.
 */
export interface DeviceFault extends FaultKindInfo {
  /** Devices with it do not say that something is wrong; they are found out by what they hold. */
  readonly lies?: true;
  /** The faulty file layer over a sound one. Must not change the buffers that callers hand in. */
  filter(files: Files, attributes: Readonly<Record<string, string>>, chance: Chance): Files;
}

const INJECTED = "injected fault";

/** The error that a failing system call gives. */
export function errno(code: string, what: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: ${INJECTED}, ${what}`), { code });
}

/** Whether a device has failed by such an error, by the reason that is kept of it. */
export const isInjected = (reason: string): boolean => reason.includes(INJECTED);

export type Operation = "open" | "read" | "write" | "datasync" | "punch";

/** A file layer that does something before each of these operations, and nothing else. */
export function before(files: Files, operations: readonly Operation[], act: (operation: Operation) => void): Files {
  const first = <A extends unknown[], R>(operation: Operation, call: (...args: A) => R) =>
    operations.includes(operation)
      ? (...args: A): R => {
          act(operation);
          return call(...args);
        }
      : call;
  return {
    ...files,
    open: first("open", files.open),
    read: first("read", files.read),
    write: first("write", files.write),
    datasync: first("datasync", files.datasync),
    syncRange: first("datasync", files.syncRange),
    punch: first("punch", files.punch),
  };
}
