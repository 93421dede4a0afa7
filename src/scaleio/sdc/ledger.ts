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
 * (invariant 3). It does not live with the MDM, because I/O must survive the loss of all MDM members (invariant 7), nor
 * on the SDSs, because it must be readable when they are not.
 */
const ON_DISK = BIT[2];
const KEPT = ALL_SLOTS | INHERITED;
const MAGIC = 0x474c5352; // "RSLG"
const FORMAT = 1;
/** Sectors written at creation; they cover 1 TB. */
const MOST_PREALLOCATED = 256;

const replicaPaths = (dir: string) => [path.join(dir, "ledger.1"), path.join(dir, "ledger.2")];

/** Writes the two replicas of a new volume with a usual map: a header sector, and zeros, which mean two good copies. */
export function createLedger(files: Files, dir: string, volumeId: string, chunks: number): void {
  const header = Buffer.alloc(SECTOR_BYTES);
  writeHeader(header, volumeId, chunks, 1);
  for (const file of replicaPaths(dir)) {
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
  readonly #replicas: { file: string; fd: number }[] = [];
  #numbers: Float64Array;
  readonly #volumeId: string;
  readonly #mend: boolean;
  readonly #sector = Buffer.alloc(SECTOR_BYTES);

  /** The state of every chunk; shared with the block store, which changes it and then calls {@link persist}. */
  states: Uint8Array;
  /** How many of them have been put on record; the others are chunks by which the volume has grown, see {@link grow}. */
  recorded = 0;

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

    for (const file of replicaPaths(dir)) {
      // A lost replica is made anew and filled below.
      const lost = !files.exists(file);
      if (lost && !mend) continue;
      const fd = files.open(file, { create: lost, durable: true });
      if (lost) files.resize(fd, SECTOR_BYTES * sectors);
      this.#replicas.push({ file, fd });
    }
    const contents = this.#replicas.map(({ fd }) => this.#readAll(fd, sectors));
    for (let i = 0; i < sectors; i++) this.#load(i, contents, dir, volumeId, chunks);
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
    const number = (numbers[0] as number) + 1;
    writeHeader(this.#sector, this.#volumeId, chunks, number);
    this.#write(0);
    numbers[0] = number;
    this.recorded = chunks;
  }

  close(): void {
    for (const { fd } of this.#replicas) this.#files.close(fd);
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
    for (const [replica, { fd }] of this.#replicas.entries()) {
      const at = index * SECTOR_BYTES;
      const sector = contents[replica]?.subarray(at, at + SECTOR_BYTES) ?? Buffer.alloc(SECTOR_BYTES);
      let number: number | undefined;
      try {
        if (contents[replica] === undefined) this.#files.read(fd, sector, 0, SECTOR_BYTES, at);
        // Only data sectors may be holes: a header of zeros is a lost file.
        number = numberOf(sector, MAGIC);
        if (index === 0 && number === 0) number = undefined;
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
    if (index === 0) this.recorded = checkHeader(this.#sector, dir, volumeId, chunks, this.#mend);
    else {
      const from = (index - 1) * PAYLOAD_BYTES;
      const payload = payloadOf(this.#sector).subarray(0, chunks - from);
      for (let i = 0; i < payload.length; i++) this.states[from + i] = (payload[i] as number) ^ ON_DISK;
    }
  }
}

const sectorOf = (chunk: number) => 1 + Math.floor(chunk / PAYLOAD_BYTES);

function writeHeader(sector: Buffer, volumeId: string, chunks: number, number: number): void {
  payloadOf(sector)
    .fill(0)
    .write(JSON.stringify({ format: FORMAT, volumeId, chunks }));
  seal(sector, MAGIC, number);
}

/** Answers how many chunks are on record. */
function checkHeader(sector: Buffer, dir: string, volumeId: string, chunks: number, mayGrow: boolean): number {
  const payload = payloadOf(sector);
  const header = JSON.parse(payload.toString("utf8", 0, payload.indexOf(0))) as {
    format: number;
    volumeId: string;
    chunks: number;
  };
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
  return header.chunks;
}
