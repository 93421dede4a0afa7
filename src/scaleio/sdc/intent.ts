import path from "node:path";
import { CHUNK_BYTES } from "../model.ts";
import type { Files } from "./files.ts";
import { numberOf, PAYLOAD_BYTES, payloadOf, SECTOR_BYTES, seal } from "./sector.ts";

/**
 * The write-intent record: a bit for each region that may hold writes not yet known to be on both copies (design.md,
 * invariant 5; md's bitmap is the model). Set and durable before the region's first write, cleared lazily once everything
 * has been synced and the region is quiet. A second bit says whether anything was ever written to the region; it is never
 * cleared. Where it is not set all copies are holes, and nobody need read them to know that.
 *
 * Two slots are written in turns; a damaged record means "any region may differ".
 */
const MAGIC = 0x4e495352; // "RSIN"
/** The same, followed by a sector with the second kind of bits. Older ones have been written everywhere, for all they say. */
const TOUCHED_MAGIC = 0x54495352; // "RSIT"
const SLOT_BYTES = 2 * SECTOR_BYTES;
const SMALLEST_REGION = 4 * CHUNK_BYTES;
/** After the bits, the region size in MiB: a volume may have grown since. With the second kind of bits {@link OWES} may be added to it. */
const BITS_BYTES = PAYLOAD_BYTES - 4;
const MOST_REGIONS = BITS_BYTES * 8;
/** A sync has failed and lost something: whoever flushes next is to be told, by an engine that comes after this one as well. */
const OWES = 0x80000000;
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
  /** Regions that were ever written to; all that are active among them. */
  readonly #touched: Uint8Array;
  readonly #lastWrite: Float64Array;
  readonly #slot = Buffer.alloc(SLOT_BYTES);
  #number = 0;
  /** What is in memory is ahead of the disk, since a store failed or has yet to come. */
  #unsaved = false;
  #owesFailure = false;

  /** Opens or creates the record. {@link activeRegions} then tells what an unclean stop left. */
  constructor(files: Files, dir: string, sizeBytes: number) {
    this.#files = files;
    this.regionBytes = regionBytesFor(sizeBytes);
    const regions = Math.ceil(sizeBytes / this.regionBytes);
    this.#active = new Uint8Array(regions);
    this.#touched = new Uint8Array(regions);
    this.#lastWrite = new Float64Array(regions);
    const file = recordPath(dir);
    // The record is made together with the volume; one that is missing later is as good as damaged.
    const lost = !files.exists(file);
    this.#fd = files.open(file, { create: lost, durable: true });
    try {
      if (!lost && this.#load()) return;
    } catch (error) {
      this.close();
      throw error;
    }
    this.#active.fill(1);
    this.#touched.fill(1);
  }

  /** The empty record of a new volume. */
  static create(files: Files, dir: string): void {
    const fd = files.open(recordPath(dir), { create: true, durable: true });
    const slots = Buffer.alloc(2 * SLOT_BYTES);
    for (const at of [SLOT_BYTES, SLOT_BYTES + SECTOR_BYTES])
      seal(slots.subarray(at, at + SECTOR_BYTES), TOUCHED_MAGIC, 1);
    files.write(fd, slots, 0, slots.length, 0);
    files.close(fd);
  }

  activeRegions(): number[] {
    const active: number[] = [];
    for (let region = this.#active.indexOf(1); region >= 0; region = this.#active.indexOf(1, region + 1))
      active.push(region);
    return active;
  }

  /** Whether the byte's region is on record: it may hold writes that are not synced on both copies. */
  isActive(offset: number): boolean {
    return this.#active[Math.floor(offset / this.regionBytes)] === 1;
  }

  /** Whether anything may ever have been written to the byte's region; if not, all copies of it are holes. */
  isTouched(offset: number): boolean {
    return this.#touched[Math.floor(offset / this.regionBytes)] === 1;
  }

  /** Whether a flush still has to say that something was lost, or has said so and no other one has come since. */
  get owesFailure(): boolean {
    return this.#owesFailure;
  }

  /** To be followed by {@link save}. */
  set owesFailure(owes: boolean) {
    this.#unsaved ||= owes !== this.#owesFailure;
    this.#owesFailure = owes;
  }

  save(): void {
    if (this.#unsaved) this.#store();
  }

  /** Must return before data is written that the record of intents is not needed for. */
  touch(offset: number): void {
    if (this.isTouched(offset) && !this.#unsaved) return;
    this.#touched[Math.floor(offset / this.regionBytes)] = 1;
    this.#store();
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
    this.#touched.fill(1, first, end + 1);
    for (let region = last + 1; region <= end; region++) this.#lastWrite[region] = now;
    this.#store();
  }

  /** As {@link cover}, of all that was ever written to. */
  coverTouched(): void {
    this.#active.set(this.#touched);
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
    this.#number++;
    for (const [index, regions] of [this.#active, this.#touched].entries()) {
      const sector = this.#slot.subarray(index * SECTOR_BYTES, (index + 1) * SECTOR_BYTES);
      const bits = payloadOf(sector).fill(0);
      for (let region = 0; region < regions.length; region++) {
        if (regions[region] === 1) bits[region >> 3] = (bits[region >> 3] ?? 0) | (1 << (region & 7));
      }
      const flag = this.#owesFailure && index === 1 ? OWES : 0;
      bits.writeUInt32LE(this.regionBytes / CHUNK_BYTES + flag, BITS_BYTES);
      seal(sector, TOUCHED_MAGIC, this.#number);
    }
    this.#unsaved = true;
    this.#files.write(this.#fd, this.#slot, 0, SLOT_BYTES, (this.#number % 2) * SLOT_BYTES);
    this.#unsaved = false;
  }

  /**
   * False when the record cannot be trusted: what was in a slot that is damaged, or not there any more, may have been newer than what the
   * other one has.
   */
  #load(): boolean {
    const record = Buffer.alloc(2 * SLOT_BYTES);
    this.#files.read(this.#fd, record, 0, record.length, 0);
    const sectors = [0, 1, 2, 3].map((index) => record.subarray(index * SECTOR_BYTES, (index + 1) * SECTOR_BYTES));
    let newest: { readonly active: Buffer; readonly touched: Buffer | undefined } | undefined;
    const consider = (number: number | undefined, active: Buffer, touched?: Buffer) => {
      if (number === undefined || number <= this.#number) return;
      this.#number = number;
      newest = { active, touched };
    };
    let lowest = Number.POSITIVE_INFINITY;
    for (const first of [0, 2]) {
      const [active, touched] = [sectors[first] as Buffer, sectors[first + 1] as Buffer];
      const number = numberOf(active, TOUCHED_MAGIC);
      const whole = number === numberOf(touched, TOUCHED_MAGIC) ? number : undefined;
      consider(whole, active, touched);
      lowest = Math.min(lowest, whole ?? -1);
    }
    for (const old of [0, 1]) consider(numberOf(sectors[old] as Buffer, MAGIC), sectors[old] as Buffer);
    if (newest === undefined) return false;
    // A record that was never written has one slot, and one of a former version has others.
    if (newest.touched !== undefined && lowest < Math.min(1, this.#number - 1)) return false;
    this.#set(this.#active, newest.active);
    if (newest.touched === undefined) this.#touched.fill(1);
    else {
      this.#set(this.#touched, newest.touched);
      this.#owesFailure = payloadOf(newest.touched).readUInt32LE(BITS_BYTES) >= OWES;
    }
    return true;
  }

  #set(regions: Uint8Array, sector: Buffer): void {
    const bits = payloadOf(sector);
    const recordedBytes = (bits.readUInt32LE(BITS_BYTES) % OWES) * CHUNK_BYTES || this.regionBytes;
    for (let region = 0; region < MOST_REGIONS; region++) {
      // Most bytes are zeros, and thousands of records are read at a start.
      if ((region & 7) === 0 && bits[region >> 3] === 0) {
        region += 7;
        continue;
      }
      if (((bits[region >> 3] as number) & (1 << (region & 7))) === 0) continue;
      const first = Math.floor((region * recordedBytes) / this.regionBytes);
      const end = Math.ceil(((region + 1) * recordedBytes) / this.regionBytes);
      regions.fill(1, first, end);
    }
  }
}
