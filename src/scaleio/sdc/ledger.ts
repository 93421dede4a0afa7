import path from "node:path";
import { SimError } from "../../lib/errors.ts";
import type { Files } from "./files.ts";
import { ALL_SLOTS, BIT, INHERITED } from "./layout.ts";
import { numberOf, PAYLOAD_BYTES, payloadOf, SECTOR_BYTES, seal } from "./sector.ts";

/**
 * Which copies of a volume's chunks are stale: one byte a chunk, one bit a slot (layout.ts). A slot without a device counts
 * as stale, so that a device that is put there later is not believed to hold anything. A further bit says that the layer does
 * not hold the chunk at all (INHERITED). On disk the third slot's bit is the other way round: zeros are a chunk with two good
 * copies.
 * Two replicas, so that a damaged sector of one is mended from the other. A bit is on disk before the write that it is
 * about is acknowledged (design.md, invariant 2), and is cleared only after the copy has been made good and synced
 * (invariant 3). The header says by which map the layer was last served: by an older one, copies are looked for in places that
 * were given up. It does not live with the MDM, because I/O must survive the loss of all MDM members (invariant 7), nor
 * on the SDSs, because it must be readable when they are not.
 */
const ON_DISK = BIT[2];
const KEPT = ALL_SLOTS | INHERITED;
const MAGIC = 0x474c5352; // "RSLG"
const FORMAT = 1;
/** Sectors written at creation; they cover 1 TB. */
const MOST_PREALLOCATED = 256;

/** The two replicas in a layer's directory of records. */
export const ledgerFiles = (dir: string): string[] => [path.join(dir, "ledger.1"), path.join(dir, "ledger.2")];

/** Writes the two replicas of a new volume with a usual map: a header sector, and zeros, which mean two good copies. */
export function createLedger(files: Files, dir: string, volumeId: string, chunks: number, mapVersion: number): void {
  const header = Buffer.alloc(SECTOR_BYTES);
  writeHeader(header, { volumeId, chunks, mapVersion }, 1);
  for (const file of ledgerFiles(dir)) {
    const fd = files.open(file, { create: true, durable: true });
    const sectors = 1 + Math.ceil(chunks / PAYLOAD_BYTES);
    files.resize(fd, SECTOR_BYTES * sectors);
    // Real zeros rather than holes, within reason: marking a copy stale must not need space on a disk that is full.
    const zeros = Buffer.alloc(SECTOR_BYTES * Math.min(sectors, MOST_PREALLOCATED));
    header.copy(zeros);
    files.write(fd, zeros, 0, zeros.length, 0);
    files.datasync(fd);
    files.close(fd);
  }
}

export class Ledger {
  readonly #files: Files;
  readonly #replicas: { file: string; fd: number; lost: boolean }[] = [];
  #numbers: Float64Array;
  readonly #volumeId: string;
  readonly #mend: boolean;
  readonly #sector = Buffer.alloc(SECTOR_BYTES);

  /** The state of every chunk; shared with the block store, which changes it and then calls {@link persist}. */
  states: Uint8Array;
  /** How many of them have been put on record; the others are chunks by which the volume has grown, see {@link grow}. */
  recorded = 0;
  #mapVersion = 0;

  /**
   * Opens both replicas, takes the newer of each pair of sectors, and mends the other one. Throws state_corrupt when both
   * are damaged or missing (a chunk of unknown state must not be read as good), state_newer. Records of more chunks than
   * the volume has are of a growth that did not come about.
   *
   * `mend: false` only looks: for a reader beside the engine that has the volume open.
   */
  constructor(files: Files, dir: string, volumeId: string, chunks: number, { mend = true } = {}) {
    this.#files = files;
    this.#volumeId = volumeId;
    this.#mend = mend;
    this.states = new Uint8Array(chunks);
    const sectors = 1 + Math.ceil(chunks / PAYLOAD_BYTES);
    this.#numbers = new Float64Array(sectors);

    try {
      for (const file of ledgerFiles(dir)) {
        // A lost replica is made anew and filled below.
        const lost = !files.exists(file);
        if (lost && !mend) continue;
        const fd = files.open(file, { create: lost, durable: true });
        if (lost) files.resize(fd, SECTOR_BYTES * sectors);
        this.#replicas.push({ file, fd, lost });
      }
      const contents = this.#replicas.map(({ fd }) => this.#readAll(fd, sectors));
      for (let i = 0; i < sectors; i++) this.#load(i, contents, dir, volumeId, chunks);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Makes the states of chunks first..last durable. Succeeds while one replica takes it. */
  persist(first: number, last: number): void {
    for (let i = sectorOf(first); i <= sectorOf(last); i++) {
      const payload = payloadOf(this.#sector).fill(0);
      const from = (i - 1) * PAYLOAD_BYTES;
      const to = Math.min(from + PAYLOAD_BYTES, this.states.length);
      for (let chunk = from; chunk < to; chunk++) payload[chunk - from] = ((this.states[chunk] ?? 0) & KEPT) ^ ON_DISK;
      const number = (this.#numbers[i] ?? 0) + 1;
      seal(this.#sector, MAGIC, number);
      this.#write(i);
      this.#numbers[i] = number;
    }
  }

  /**
   * Takes on record that the layer is served by this map from now on. Throws unavailable when it was served by a newer one:
   * what the MDM says then is not what was last acknowledged.
   */
  follow(mapVersion: number): void {
    this.checkMap(mapVersion);
    if (mapVersion === this.#mapVersion) return;
    this.#mapVersion = mapVersion;
    this.#persistHeader();
  }

  /** Throws as {@link follow} does. */
  checkMap(mapVersion: number): void {
    if (mapVersion < this.#mapVersion) {
      throw new SimError(
        "unavailable",
        `the cluster's map has version ${mapVersion}, and layer ${this.#volumeId} was last served by version ${this.#mapVersion}: ` +
          "bring back the MDM members that have the newer one",
      );
    }
  }

  /** Takes on record that the volume has chunks from `first` on, with these states; the others keep theirs. */
  grow(first: number, chunks: number, stateOf: (chunk: number) => number): void {
    const states = new Uint8Array(chunks);
    states.set(this.states.subarray(0, first));
    for (let chunk = first; chunk < chunks; chunk++) states[chunk] = stateOf(chunk);
    const sectors = 1 + Math.ceil(chunks / PAYLOAD_BYTES);
    const numbers = new Float64Array(sectors);
    numbers.set(this.#numbers.subarray(0, sectors));
    this.#numbers = numbers;
    this.states = states;
    for (const { fd } of this.#replicas) {
      // What a growth that did not come about has left goes first.
      this.#files.resize(fd, SECTOR_BYTES * (1 + Math.ceil(first / PAYLOAD_BYTES)));
      this.#files.resize(fd, SECTOR_BYTES * sectors);
    }
    this.persist(first, chunks - 1);
    this.recorded = chunks;
    this.#persistHeader();
  }

  close(): void {
    for (const { fd } of this.#replicas) this.#files.close(fd);
  }

  #persistHeader(): void {
    const number = (this.#numbers[0] as number) + 1;
    const header = { volumeId: this.#volumeId, chunks: this.recorded, mapVersion: this.#mapVersion };
    writeHeader(this.#sector, header, number);
    this.#write(0);
    this.#numbers[0] = number;
  }

  #write(index: number): void {
    let failure: unknown;
    let written = 0;
    for (const { fd } of this.#replicas) {
      try {
        this.#files.write(fd, this.#sector, 0, SECTOR_BYTES, index * SECTOR_BYTES);
        written++;
      } catch (error) {
        failure = error;
      }
    }
    if (written === 0) throw failure;
  }

  /** A replica in one read; undefined when some of it cannot be read. */
  #readAll(fd: number, sectors: number): Buffer | undefined {
    const content = Buffer.alloc(SECTOR_BYTES * sectors);
    try {
      this.#files.read(fd, content, 0, content.length, 0);
      return content;
    } catch {
      return undefined;
    }
  }

  #load(index: number, contents: readonly (Buffer | undefined)[], dir: string, volumeId: string, chunks: number): void {
    let best = -1;
    let uneven = false;
    for (const [replica, { fd, lost }] of this.#replicas.entries()) {
      const at = index * SECTOR_BYTES;
      const sector = contents[replica]?.subarray(at, at + SECTOR_BYTES) ?? Buffer.alloc(SECTOR_BYTES);
      let number: number | undefined;
      try {
        if (contents[replica] === undefined) this.#files.read(fd, sector, 0, SECTOR_BYTES, at);
        // Only data sectors may be holes, in a file that was there: a header of zeros is a lost file.
        number = numberOf(sector, MAGIC);
        if (lost || (index === 0 && number === 0)) number = undefined;
      } catch {
        number = undefined;
      }
      if (number === undefined || (best >= 0 && number !== best)) uneven = true;
      if (number !== undefined && number > best) {
        best = number;
        sector.copy(this.#sector);
      }
    }
    if (best < 0) {
      throw new SimError(
        "state_corrupt",
        `both replicas of the ledger in ${dir} are damaged (sector ${index}), so it is not known which copies of volume ` +
          `${volumeId} are stale: restore ledger.1 or ledger.2 from a backup, or remove the volume`,
      );
    }
    // A replica that cannot be mended now is tried again at the next change; the good one carries on.
    if (uneven && this.#mend) this.#write(index);
    this.#numbers[index] = best;
    if (index === 0) {
      const header = checkHeader(this.#sector, dir, volumeId, chunks, this.#mend);
      this.recorded = header.chunks;
      this.#mapVersion = header.mapVersion ?? 0;
    } else {
      const from = (index - 1) * PAYLOAD_BYTES;
      const payload = payloadOf(this.#sector).subarray(0, chunks - from);
      for (let i = 0; i < payload.length; i++) this.states[from + i] = (payload[i] as number) ^ ON_DISK;
    }
  }
}

const sectorOf = (chunk: number) => 1 + Math.floor(chunk / PAYLOAD_BYTES);

interface Header {
  readonly volumeId: string;
  readonly chunks: number;
  /** Older ledgers have none. */
  readonly mapVersion?: number;
}

function writeHeader(sector: Buffer, header: Header, number: number): void {
  payloadOf(sector)
    .fill(0)
    .write(JSON.stringify({ format: FORMAT, ...header }));
  seal(sector, MAGIC, number);
}

function checkHeader(sector: Buffer, dir: string, volumeId: string, chunks: number, mayGrow: boolean): Header {
  const payload = payloadOf(sector);
  const header = JSON.parse(payload.toString("utf8", 0, payload.indexOf(0))) as Header & { format: number };
  if (header.format > FORMAT) {
    throw new SimError(
      "state_newer",
      `the ledger in ${dir} has format ${header.format}, this version reads up to ${FORMAT}: use the newer rexray-sim`,
    );
  }
  if (header.volumeId !== volumeId || (header.chunks < chunks && !mayGrow)) {
    throw new SimError(
      "state_corrupt",
      `the ledger in ${dir} belongs to volume ${header.volumeId} of ${header.chunks} MiB, not to ${volumeId} of ${chunks} MiB`,
    );
  }
  return header;
}
