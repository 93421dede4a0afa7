import { crc32 } from "node:zlib";

/**
 * One 4 KiB record of the SDC's own books: magic, checksum, rising number, payload. A torn or rotten sector is seen, the
 * highest number wins among replicas or slots, and a hole is an empty sector of number 0.
 */
export const SECTOR_BYTES = 4096;
const HEADER_BYTES = 16;
const HOLE = Buffer.alloc(SECTOR_BYTES);
export const PAYLOAD_BYTES = SECTOR_BYTES - HEADER_BYTES;

/** The payload part of a sector's buffer. */
export const payloadOf = (sector: Buffer): Buffer => sector.subarray(HEADER_BYTES);

/** Completes a sector in place: the payload must be there already. */
export function seal(sector: Buffer, magic: number, number: number): void {
  sector.writeUInt32LE(magic, 4);
  sector.writeDoubleLE(number, 8);
  sector.writeUInt32LE(crc32(sector.subarray(4)), 0);
}

/** The sector's number, 0 for a hole, undefined when it is damaged or not of this kind. */
export function numberOf(sector: Buffer, magic: number): number | undefined {
  if (sector.readUInt32LE(4) === magic && sector.readUInt32LE(0) === crc32(sector.subarray(4)))
    return sector.readDoubleLE(8);
  return sector.equals(HOLE) ? 0 : undefined;
}
