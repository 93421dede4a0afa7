import type { Files } from "../sdc/files.ts";

/** A fault that a user has put on a device: the envelope is the same for all kinds. */
export interface FaultSpec {
  /** The user's name for it, by which it is taken away again. */
  readonly name: string;
  readonly type: string;
  /** What it is on: "sds-1/dev-1", "sds-1" (all its devices), or "mdm-2". */
  readonly target: string;
  /** From 0 to 1: how often an operation meets it. */
  readonly probability: number;
  readonly attributes: Readonly<Record<string, string>>;
}

/** An attribute of a fault: what values it takes, and which one when none is given. */
export interface Attribute {
  readonly help: string;
  readonly pattern: RegExp;
  readonly default: string;
}

/** Whether this operation meets the fault. */
export type Chance = () => boolean;

/**
 * A kind of fault on devices: a filter over the file layer, as nbdkit's filters are over a block device. One file a kind;
 * types.ts lists them. The data path of a device without faults has no filter.
 */
export interface DeviceFault {
  readonly help: string;
  readonly attributes: Readonly<Record<string, Attribute>>;
  /** The faulty file layer over a sound one. Must not change the buffers that callers hand in. */
  filter(files: Files, attributes: Readonly<Record<string, string>>, chance: Chance): Files;
}

/** The error that a failing system call gives. */
export function errno(code: string, what: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: injected fault, ${what}`), { code });
}

/** Which operations a fault is about. */
export const ON: Attribute = { help: "read, write or both", pattern: /^(read|write|both)$/, default: "both" };

type Operation = "open" | "read" | "write" | "datasync" | "punch";

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
    punch: first("punch", files.punch),
  };
}
