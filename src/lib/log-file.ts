import fs from "node:fs";

/** A log that is larger than this when it is opened or looked at (bytes) … */
const LARGEST = 8 * 1024 ** 2;
/** … keeps this much of its end. */
const KEPT = 1024 ** 2;

/** Opens a log for a process that appends to it, and cuts it as {@link shortenLog} does. The caller closes it. */
export function openLogFile(file: string): number {
  const fd = fs.openSync(file, "a+", 0o600);
  shorten(fd);
  return fd;
}

/**
 * Keeps a log from growing for ever. It is cut in place: who has it open for appending goes on at the new end; a line written
 * in that very moment may be lost. Throws as openSync when it is not there.
 */
export function shortenLog(file: string): void {
  const fd = fs.openSync(file, fs.constants.O_RDWR | fs.constants.O_APPEND | fs.constants.O_NOFOLLOW);
  try {
    shorten(fd);
  } finally {
    fs.closeSync(fd);
  }
}

function shorten(fd: number): void {
  const { size } = fs.fstatSync(fd);
  if (size <= LARGEST) return;
  const end = Buffer.alloc(KEPT);
  fs.readSync(fd, end, 0, KEPT, size - KEPT);
  fs.ftruncateSync(fd);
  // From a line's beginning on.
  fs.writeSync(fd, end.subarray(end.indexOf("\n") + 1));
}
