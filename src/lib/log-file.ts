import fs from "node:fs";

/** A log that is larger than this when it is opened (bytes) … */
const LARGEST = 8 * 1024 ** 2;
/** … keeps this much of its end. */
const KEPT = 1024 ** 2;

/**
 * Opens a log for a process that appends to it, and keeps it from growing for ever. It is cut in place: who has had it open
 * since before goes on appending, at the new end. The caller closes it.
 */
export function openLogFile(file: string): number {
  const fd = fs.openSync(file, "a+", 0o600);
  const { size } = fs.fstatSync(fd);
  if (size <= LARGEST) return fd;
  const end = Buffer.alloc(KEPT);
  fs.readSync(fd, end, 0, KEPT, size - KEPT);
  fs.ftruncateSync(fd);
  // From a line's beginning on.
  fs.writeSync(fd, end.subarray(end.indexOf("\n") + 1));
  return fd;
}
