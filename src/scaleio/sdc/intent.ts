import path from "node:path";
import { CHUNK_BYTES } from "../model.ts";
import type { Files } from "./files.ts";
import { numberOf, PAYLOAD_BYTES, payloadOf, SECTOR_BYTES, seal } from "./sector.ts";

/**
 * The write-intent record: a bit for each region that may hold writes not yet known to be on both copies (design.md,
 * invariant 5; md's bitmap is the model). Set and durable before the region's first write, cleared lazily once everything
 * has been synced and the region is quiet. Two slots are written in turns; a damaged record means "any region may differ".
 */
const MAGIC = 0x4e495352; // "RSIN"
const SMALLEST_REGION = 4 * CHUNK_BYTES;
/** After the bits, the region size in MiB: a volume may have grown since. */
const BITS_BYTES = PAYLOAD_BYTES - 4;
const MOST_REGIONS = BITS_BYTES * 8;
/** How long a region has to be quiet before a flush takes it off the record. */
const QUIET_MS = 5000;
/** A stream that runs into the next region gets some more in one durable write. */
const LOOK_AHEAD = 8;

const recordPath = (dir: string) => path.join(dir, "intent");

/** Region size for a volume: 4 MiB, or as large as one sector of bits demands. */
function regionBytesFor(sizeBytes: number): number {
  let bytes = SMALLEST_REGION;
  while (sizeBytes / bytes > MOST_REGIONS) bytes *= 2;
  return bytes;
}

export class Intent {
  readonly regionBytes: number;
  readonly #files: Files;
  readonly #fd: number;
  readonly #active: Uint8Array;
  readonly #lastWrite: Float64Array;
  readonly #sector = Buffer.alloc(SECTOR_BYTES);
  #number = 0;
  /** The bits in memory are ahead of the disk, since a store failed. */
  #unsaved = false;

  /** Opens or creates the record. {@link activeRegions} then tells what an unclean stop left. */
  constructor(files: Files, dir: string, sizeBytes: number) {
    this.#files = files;
    this.regionBytes = regionBytesFor(sizeBytes);
    const regions = Math.ceil(sizeBytes / this.regionBytes);
    this.#active = new Uint8Array(regions);
    this.#lastWrite = new Float64Array(regions);
    const file = recordPath(dir);
    // The record is made together with the volume; one that is missing later is as good as damaged.
    const lost = !files.exists(file);
    this.#fd = files.open(file, { create: lost, durable: true });
    if (lost || !this.#load()) this.#active.fill(1);
  }

  /** The empty record of a new volume. */
  static create(files: Files, dir: string): void {
    const fd = files.open(recordPath(dir), { create: true, durable: true });
    const slots = Buffer.alloc(2 * SECTOR_BYTES);
    seal(slots.subarray(SECTOR_BYTES), MAGIC, 1);
    files.write(fd, slots, 0, slots.length, 0);
    files.close(fd);
  }

  activeRegions(): number[] {
    return [...this.#active.keys()].filter((region) => this.#active[region] === 1);
  }

  /** Whether the byte's region is on record: it may hold writes that are not synced on both copies. */
  isActive(offset: number): boolean {
    return this.#active[Math.floor(offset / this.regionBytes)] === 1;
  }

  /** Must return before any byte of [offset, offset + length) is written. Costs nothing while the region is active. */
  cover(offset: number, length: number, now: number): void {
    const first = Math.floor(offset / this.regionBytes);
    const last = Math.floor((offset + length - 1) / this.regionBytes);
    let missing = this.#unsaved;
    for (let region = first; region <= last; region++) {
      this.#lastWrite[region] = now;
      if (this.#active[region] === 0) missing = true;
    }
    if (!missing) return;
    const streaming = first > 0 && this.#active[first - 1] === 1;
    const end = Math.min(this.#active.length - 1, streaming ? last + LOOK_AHEAD : last);
    this.#active.fill(1, first, end + 1);
    for (let region = last + 1; region <= end; region++) this.#lastWrite[region] = now;
    this.#store();
  }

  /** After everything written so far has been synced on every copy that counts: regions that are quiet leave the record, once all is `ready` for that. */
  settle(now: number, keep: (region: number) => boolean, ready: () => boolean = () => true): void {
    const quiet: number[] = [];
    for (let region = 0; region < this.#active.length; region++) {
      if (this.#active[region] === 1 && now - (this.#lastWrite[region] ?? 0) >= QUIET_MS && !keep(region))
        quiet.push(region);
    }
    if (quiet.length === 0 || !ready()) return;
    for (const region of quiet) this.#active[region] = 0;
    this.#store();
  }

  /** Clean stop: as settle, without waiting for quiet. */
  clear(keep: (region: number) => boolean, ready?: () => boolean): void {
    this.settle(Number.POSITIVE_INFINITY, keep, ready);
  }

  close(): void {
    this.#files.close(this.#fd);
  }

  #store(): void {
    const bits = payloadOf(this.#sector).fill(0);
    for (let region = 0; region < this.#active.length; region++) {
      if (this.#active[region] === 1) bits[region >> 3] = (bits[region >> 3] ?? 0) | (1 << (region & 7));
    }
    bits.writeUInt32LE(this.regionBytes / CHUNK_BYTES, BITS_BYTES);
    this.#number++;
    seal(this.#sector, MAGIC, this.#number);
    this.#unsaved = true;
    this.#files.write(this.#fd, this.#sector, 0, SECTOR_BYTES, (this.#number % 2) * SECTOR_BYTES);
    this.#unsaved = false;
  }

  /** False when neither slot can be trusted. */
  #load(): boolean {
    let newest: Buffer | undefined;
    for (const slot of [0, 1]) {
      const sector = Buffer.alloc(SECTOR_BYTES);
      this.#files.read(this.#fd, sector, 0, SECTOR_BYTES, slot * SECTOR_BYTES);
      const number = numberOf(sector, MAGIC);
      if (number !== undefined && number > this.#number) {
        this.#number = number;
        newest = sector;
      }
    }
    if (newest === undefined) return false;
    const bits = payloadOf(newest);
    const recordedBytes = bits.readUInt32LE(BITS_BYTES) * CHUNK_BYTES || this.regionBytes;
    for (let region = 0; region < MOST_REGIONS; region++) {
      if (((bits[region >> 3] as number) & (1 << (region & 7))) === 0) continue;
      const first = Math.floor((region * recordedBytes) / this.regionBytes);
      const end = Math.ceil(((region + 1) * recordedBytes) / this.regionBytes);
      this.#active.fill(1, first, end);
    }
    return true;
  }
}
