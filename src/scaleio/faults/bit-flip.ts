import type { DeviceFault } from "./fault-type.ts";

/** A device that lies: a bit of what it stores or answers is another one, and it does not say so. */
export const bitFlip: DeviceFault = {
  help: "one bit of what is written or read is wrong, without an error; only checksums find it",
  lies: true,
  attributes: { on: { help: "read, write or both", pattern: /^(read|write|both)$/, default: "write" } },
  filter: (files, { on }, chance) => ({
    ...files,
    read(fd, into, at, length, position) {
      files.read(fd, into, at, length, position);
      if (on !== "write" && chance()) flip(into, at, length);
    },
    write(fd, from, at, length, position) {
      if (on === "read" || !chance()) {
        files.write(fd, from, at, length, position);
        return;
      }
      const wrong = Buffer.from(from.subarray(at, at + length));
      flip(wrong, 0, length);
      files.write(fd, wrong, 0, length, position);
    },
  }),
};

function flip(data: Buffer, at: number, length: number): void {
  const where = at + Math.floor(Math.random() * length);
  data[where] = (data[where] as number) ^ (1 << Math.floor(Math.random() * 8));
}
