import fs from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import path from "node:path";
import { random } from "./load.ts";

const BLOCK_BYTES = 4096;
const FS_BLOCK_BYTES = 1024;

interface Version {
  /** The newest that was acknowledged, and the newest that was begun. */
  acknowledged: number;
  begun: number;
}

/**
 * A load on one file of a volume that knows what it may find: every block holds its number and a version, is written and synced
 * again and again, and read in between. Errors are counted; what was acknowledged before and after them is known.
 */
export class Versions {
  readonly file: string;
  readonly #blocks: Version[];
  #handle: FileHandle | undefined;
  #running: Promise<void> | undefined;
  #stop = false;
  writes = 0;
  errors = 0;
  /** What was read and should not have been there. */
  readonly wrong: string[] = [];

  /** Makes the file, with the first version of every block. */
  constructor(directory: string, blocks: number) {
    this.file = path.join(directory, "versions");
    this.#blocks = Array.from({ length: blocks }, () => ({ acknowledged: 1, begun: 1 }));
    fs.writeFileSync(this.file, Buffer.concat(this.#blocks.map((_, block) => content(block, 1))), { flush: true });
  }

  async start(): Promise<void> {
    this.#handle = await open(this.file, "r+");
    this.#running = this.#run(this.#handle);
  }

  async stop(): Promise<void> {
    this.#stop = true;
    await this.#running;
    await this.#handle?.close().catch(() => undefined);
  }

  /** Reads all of it; answers the blocks that cannot be read. `file`: where it is now. */
  async check(directory: string): Promise<number[]> {
    const failed: number[] = [];
    const handle = await open(path.join(directory, "versions"), "r");
    for (const block of this.#blocks.keys())
      await this.#read(handle, block).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== "EIO") throw error;
        failed.push(block);
      });
    await handle.close();
    return failed;
  }

  async #run(handle: FileHandle): Promise<void> {
    while (!this.#stop) {
      const block = Math.floor(random() * this.#blocks.length);
      try {
        if (random() < 0.5) await this.#write(handle, block);
        else await this.#read(handle, block);
      } catch {
        this.errors++;
      }
    }
  }

  async #write(handle: FileHandle, block: number): Promise<void> {
    const version = this.#blocks[block] as Version;
    version.begun++;
    await handle.write(content(block, version.begun), 0, BLOCK_BYTES, block * BLOCK_BYTES);
    await handle.datasync();
    version.acknowledged = version.begun;
    this.writes++;
  }

  async #read(handle: FileHandle, block: number): Promise<void> {
    const { acknowledged } = this.#blocks[block] as Version;
    const { buffer } = await handle.read(Buffer.alloc(BLOCK_BYTES), 0, BLOCK_BYTES, block * BLOCK_BYTES);
    const { begun } = this.#blocks[block] as Version;
    const allowed = Array.from({ length: begun - acknowledged + 1 }, (_, i) => content(block, acknowledged + i));
    // Small file systems have blocks of 1 KiB: a write that has failed may have reached some of them.
    for (let at = 0; at < BLOCK_BYTES; at += FS_BLOCK_BYTES) {
      const end = at + FS_BLOCK_BYTES;
      if (allowed.some((version) => buffer.compare(version, at, end, at, end) === 0)) continue;
      const found = buffer.toString("latin1", at, at + 40);
      this.wrong.push(`block ${block} holds "${found}" at ${at}, may hold versions ${acknowledged} to ${begun}`);
    }
  }
}

const content = (block: number, version: number) => Buffer.alloc(BLOCK_BYTES, `${block} ${version};`);
