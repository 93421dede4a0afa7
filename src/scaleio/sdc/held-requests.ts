import { OUT_HEADER } from "./fuse-protocol.ts";

/** Where a request says which one it is, and how many bytes that is. An answer says it at the same place. */
const UNIQUE_AT = 8;
const UNIQUE_BYTES = 8;

/**
 * Requests that are not answered while the SDC reaches no SDS. Nothing of them is kept but which ones they are: the kernel has
 * them, and sends them again when it is asked to (Linux 6.9).
 */
export class HeldRequests {
  #held: { readonly unique: Buffer; readonly since: number }[] = [];

  get any(): boolean {
    return this.#held.length > 0;
  }

  hold(request: Buffer, now: number): void {
    this.#held.push({ unique: Buffer.from(request.subarray(UNIQUE_AT, UNIQUE_AT + UNIQUE_BYTES)), since: now });
  }

  /** The answers, with this error, of those that have waited since then or longer. They are held no more. */
  expired(then: number, errno: number): Buffer[] {
    const over = this.#held.filter(({ since }) => since <= then);
    this.#held = this.#held.filter(({ since }) => since > then);
    return over.map(({ unique }) => {
      const answer = Buffer.alloc(OUT_HEADER);
      answer.writeUInt32LE(OUT_HEADER, 0);
      answer.writeInt32LE(-errno, 4);
      unique.copy(answer, UNIQUE_AT);
      return answer;
    });
  }

  forget(): void {
    this.#held = [];
  }
}
