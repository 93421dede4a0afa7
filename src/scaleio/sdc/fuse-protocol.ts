/**
 * The part of the kernel's FUSE protocol (7.x, include/uapi/linux/fuse.h) that one regular file needs. Requests come and
 * go as little-endian structs; offsets into them are spelled out here and nowhere else. See data-path.md, "Requests that
 * matter".
 */
export const Opcode = {
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  FLUSH: 25,
  INIT: 26,
  INTERRUPT: 36,
  DESTROY: 38,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
} as const;

/** struct fuse_in_header: len u32, opcode u32, unique u64, nodeid u64, uid, gid, pid u32, ... */
export const IN_HEADER = 40;
/** struct fuse_out_header: len u32, error i32, unique u64. */
export const OUT_HEADER = 16;
/** WRITE: the data follows header and struct fuse_write_in. */
export const WRITE_DATA = IN_HEADER + 40;

export const MAX_IO_BYTES = 1024 * 1024;
/** The kernel refuses reads into buffers shorter than max_write and its own header room. */
export const REQUEST_BYTES = MAX_IO_BYTES + 4096;

/** Error field of an unsolicited message that makes the kernel send unanswered requests again (Linux 6.9). */
export const NOTIFY_RESEND = 7;

export const Errno = { EIO: 5, EOPNOTSUPP: 95, ENOSYS: 38, EINVAL: 22 } as const;

const INIT_ASYNC_READ = 1 << 0;
const INIT_BIG_WRITES = 1 << 5;
const INIT_ASYNC_DIO = 1 << 15;
const INIT_MAX_PAGES = 1 << 22;
const INIT_EXT = 1 << 30;
/** Bit 39: the upper flags word. */
const INIT2_HAS_RESEND = 1 << 7;
const WANTED = INIT_ASYNC_READ | INIT_BIG_WRITES | INIT_ASYNC_DIO | INIT_MAX_PAGES | INIT_EXT;

const OPEN_DIRECT_IO = 1;
const PUNCH_HOLE = 2;
const ZERO_RANGE = 0x10;

/** Offsets below 2^53: a volume is at most 1 PB. */
export const u64 = (buffer: Buffer, at: number): number =>
  buffer.readUInt32LE(at) + buffer.readUInt32LE(at + 4) * 0x1_0000_0000;
function putU64(buffer: Buffer, at: number, value: number): void {
  buffer.writeUInt32LE(value % 0x1_0000_0000, at);
  buffer.writeUInt32LE(Math.floor(value / 0x1_0000_0000), at + 4);
}

/** What the first engine of a mount agreed with the kernel. */
export interface Negotiated {
  readonly minor: number;
  readonly resend: boolean;
}

/** Answers INIT: fuse_init_in in `request`, fuse_init_out into `reply`; returns the body's length and what was agreed. */
export function answerInit(request: Buffer, reply: Buffer): { length: number; negotiated: Negotiated } {
  const minor = request.readUInt32LE(IN_HEADER + 4);
  const flags = request.readUInt32LE(IN_HEADER + 12);
  const flags2 = (flags & INIT_EXT) !== 0 ? request.readUInt32LE(IN_HEADER + 16) : 0;
  const at = OUT_HEADER;
  reply.fill(0, at, at + 64);
  reply.writeUInt32LE(7, at);
  reply.writeUInt32LE(minor, at + 4);
  reply.writeUInt32LE(request.readUInt32LE(IN_HEADER + 8), at + 8); // max_readahead, as offered
  reply.writeUInt32LE((flags & WANTED) >>> 0, at + 12);
  reply.writeUInt16LE(128, at + 16); // max_background: as deep as a loop device queues
  reply.writeUInt16LE(96, at + 18); // congestion_threshold
  reply.writeUInt32LE(MAX_IO_BYTES, at + 20);
  reply.writeUInt32LE(1, at + 24); // time_gran
  reply.writeUInt16LE(MAX_IO_BYTES / 4096, at + 28);
  reply.writeUInt32LE(flags2 & INIT2_HAS_RESEND, at + 32);
  return { length: 64, negotiated: { minor, resend: (flags2 & INIT2_HAS_RESEND) !== 0 } };
}

/** fuse_attr_out of the one file: a regular file of the volume's size. No attribute is cached: GETATTR is the doorbell. */
export function answerAttributes(reply: Buffer, sizeBytes: number): number {
  const at = OUT_HEADER;
  reply.fill(0, at, at + 104);
  putU64(reply, at + 16, 1); // ino
  putU64(reply, at + 24, sizeBytes);
  putU64(reply, at + 32, sizeBytes / 512);
  reply.writeUInt32LE(0o100600, at + 76);
  reply.writeUInt32LE(1, at + 80); // nlink
  reply.writeUInt32LE(4096, at + 96); // blksize
  return 104;
}

/** fuse_open_out: no page cache in between, the loop device has its own. */
export function answerOpen(reply: Buffer): number {
  reply.fill(0, OUT_HEADER, OUT_HEADER + 16);
  reply.writeUInt32LE(OPEN_DIRECT_IO, OUT_HEADER + 8);
  return 16;
}

/** fuse_statfs_out, empty: nobody asks a block file for free space. */
export function answerStatfs(reply: Buffer): number {
  reply.fill(0, OUT_HEADER, OUT_HEADER + 80);
  reply.writeUInt32LE(4096, OUT_HEADER + 40);
  reply.writeUInt32LE(255, OUT_HEADER + 44);
  return 80;
}

export function answerWrite(reply: Buffer, bytes: number): number {
  putU64(reply, OUT_HEADER, bytes);
  return 8;
}

/** Whether a FALLOCATE's mode means "reads as zeros from now on": loop sends discard and write-zeroes so. */
export const zeroes = (mode: number): boolean => (mode & (PUNCH_HOLE | ZERO_RANGE)) !== 0;
