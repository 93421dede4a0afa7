import fs from "node:fs";
import { errnoOf } from "../../lib/errors.ts";
import {
  answerAttributes,
  answerInit,
  answerOpen,
  answerStatfs,
  answerWrite,
  Errno,
  IN_HEADER,
  MAX_IO_BYTES,
  type Negotiated,
  NOTIFY_RESEND,
  Opcode,
  OUT_HEADER,
  REQUEST_BYTES,
  u64,
  WRITE_DATA,
  zeroes,
} from "./fuse-protocol.ts";
import { HeldRequests } from "./held-requests.ts";
import type { Limiter } from "./limiter.ts";
import type { Session } from "./session.ts";

/** What the loop serves: the block store, seen as a block file. Methods throw when no good copy exists. */
export interface BlockFile {
  read(into: Buffer, at: number, offset: number, length: number): void;
  write(from: Buffer, at: number, offset: number, length: number): void;
  flush(): void;
  zero(offset: number, length: number): void;
}

/** A volume that has been opened. */
export interface ServedFile {
  readonly blocks: BlockFile;
  readonly sizeBytes: number;
  /** Holds reads and writes back; undefined: the volume has no limits. */
  readonly limiter: Pick<Limiter, "admit"> | undefined;
  /** Reads, writes, flushes and discards are held while this is there. */
  readonly disconnected: Session["disconnected"];
}

/** In place of an answer. */
const HELD = Number.NEGATIVE_INFINITY;

export interface LoopHooks {
  /** Opens the volume, at the first request that needs it; undefined while there is none. What it throws ends the loop. */
  open(): ServedFile | undefined;
  /** The kernel's terms; to be kept for the engine that takes over, before they are acknowledged. */
  negotiated(terms: Negotiated): void;
  /** Somebody called stat(): look for orders. */
  doorbell(): void;
  /** Whether the kernel sends requests again. */
  resends(): boolean;
  /** Before every request: cheap. */
  tick(): void;
  /** A request that could not be served. */
  failed(what: string, error: unknown): void;
}

/**
 * Serves one FUSE file from a descriptor until it is unmounted. One request at a time, no allocation per request: the
 * buffers are made once, READ fills the reply in place, WRITE hands on the request's own bytes.
 */
export class FuseLoop {
  readonly #request = Buffer.alloc(REQUEST_BYTES);
  readonly #reply = Buffer.alloc(OUT_HEADER + MAX_IO_BYTES);

  readonly #held = new HeldRequests();

  #file: ServedFile | undefined;

  constructor(
    readonly fd: number,
    readonly hooks: LoopHooks,
  ) {}

  /** Asks the kernel to send again what a former engine left unanswered. */
  takeOver(): void {
    this.#reply.fill(0, 0, OUT_HEADER);
    this.#reply.writeUInt32LE(OUT_HEADER, 0);
    this.#reply.writeInt32LE(NOTIFY_RESEND, 4);
    fs.writeSync(this.fd, this.#reply, 0, OUT_HEADER);
  }

  /** Returns when the file system is unmounted. */
  run(): void {
    for (;;) {
      try {
        fs.readSync(this.fd, this.#request, 0, REQUEST_BYTES, null);
      } catch (error) {
        const errno = errnoOf(error);
        if (errno === "ENODEV") return;
        // ENOENT: the request was withdrawn between being offered and being read.
        if (errno === "EINTR" || errno === "ENOENT" || errno === "EAGAIN") continue;
        throw error;
      }
      this.hooks.tick();
      const opcode = this.#request.readUInt32LE(4);
      if (opcode === Opcode.FORGET || opcode === Opcode.BATCH_FORGET || opcode === Opcode.INTERRUPT) continue;
      if (this.#file === undefined && opcode !== Opcode.INIT) this.#file = this.hooks.open();
      let result: number;
      try {
        result = this.#serve(opcode);
      } catch (error) {
        this.hooks.failed(`request ${opcode}`, error);
        result = -Errno.EIO;
      }
      if (result === HELD) this.#held.hold(this.#request, Date.now());
      else this.#answer(result);
      if (this.#held.any && this.#file !== undefined) this.#lookAtHeld(this.#file);
    }
  }

  /** Has those that are held sent again when they can be served, and fails those that have waited for too long. */
  #lookAtHeld({ disconnected }: ServedFile): void {
    if (disconnected === undefined) {
      this.#held.forget();
      this.takeOver();
    } else if (disconnected.limitMs > 0)
      for (const answer of this.#held.expired(Date.now() - disconnected.limitMs, Errno.EIO)) this.#send(answer);
  }

  /** The length of the body that is in the reply buffer, or a negative errno. */
  #serve(opcode: number): number {
    const request = this.#request;
    const reply = this.#reply;
    switch (opcode) {
      case Opcode.READ:
      case Opcode.WRITE:
      case Opcode.FSYNC:
      case Opcode.FALLOCATE:
        return this.#file === undefined ? -Errno.EIO : this.#transfer(opcode, this.#file);
      case Opcode.INIT: {
        const { length, negotiated } = answerInit(request, reply);
        this.hooks.negotiated(negotiated);
        return length;
      }
      case Opcode.GETATTR:
        this.hooks.doorbell();
        return answerAttributes(reply, this.#file?.sizeBytes ?? 0);
      case Opcode.SETATTR:
        return answerAttributes(reply, this.#file?.sizeBytes ?? 0);
      case Opcode.OPEN:
        return answerOpen(reply);
      case Opcode.STATFS:
        return answerStatfs(reply);
      case Opcode.FLUSH:
      case Opcode.RELEASE:
      case Opcode.DESTROY:
        return 0;
      default:
        return -Errno.ENOSYS;
    }
  }

  #transfer(opcode: number, { blocks, sizeBytes, limiter, disconnected }: ServedFile): number {
    // Before Linux 6.9 nothing that is held could be had again.
    if (disconnected !== undefined) return this.hooks.resends() ? HELD : -Errno.EIO;
    const request = this.#request;
    const reply = this.#reply;
    if (opcode === Opcode.FSYNC) {
      blocks.flush();
      return 0;
    }
    const offset = u64(request, IN_HEADER + 8);
    switch (opcode) {
      case Opcode.READ: {
        const length = Math.min(request.readUInt32LE(IN_HEADER + 16), Math.max(0, sizeBytes - offset));
        limiter?.admit(length);
        if (length > 0) blocks.read(reply, OUT_HEADER, offset, length);
        return length;
      }
      case Opcode.WRITE: {
        const length = request.readUInt32LE(IN_HEADER + 16);
        if (offset + length > sizeBytes) return -Errno.EINVAL;
        limiter?.admit(length);
        if (length > 0) blocks.write(request, WRITE_DATA, offset, length);
        return answerWrite(reply, length);
      }
      default: {
        const length = Math.min(u64(request, IN_HEADER + 16), Math.max(0, sizeBytes - offset));
        if (!zeroes(request.readUInt32LE(IN_HEADER + 24))) return -Errno.EOPNOTSUPP;
        if (length > 0) blocks.zero(offset, length);
        return 0;
      }
    }
  }

  #answer(result: number): void {
    const length = OUT_HEADER + Math.max(0, result);
    this.#reply.writeUInt32LE(length, 0);
    this.#reply.writeInt32LE(Math.min(0, result), 4);
    this.#request.copy(this.#reply, 8, 8, 16);
    this.#send(this.#reply, length);
  }

  #send(reply: Buffer, length = reply.length): void {
    try {
      fs.writeSync(this.fd, reply, 0, length);
    } catch (error) {
      // ENOENT: the request was interrupted meanwhile. ENODEV: unmounted; the next read says so too.
      const errno = errnoOf(error);
      if (errno !== "ENOENT" && errno !== "ENODEV") throw error;
    }
  }
}
