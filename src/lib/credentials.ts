import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";

/**
 * A user name and a password that callers of an HTTP API have to give (RFC 7617). Only a keyed hash of the two is kept, so
 * that no log, status or error can ever show them, whatever it prints.
 */
export class Credentials {
  readonly #key = randomBytes(32);
  readonly #expected: Buffer;

  /** @param username without a colon, which ends it in a request */
  constructor(username: string, password: string) {
    this.#expected = this.#digest(Buffer.from(`${username}:${password}`));
  }

  /** Whether the value of an Authorization header holds them. It takes the same time whatever is wrong with it. */
  admit(header: string | undefined): boolean {
    const given = /^basic +([a-z0-9+/]+={0,2}) *$/i.exec(header ?? "")?.[1] ?? "";
    return timingSafeEqual(this.#digest(Buffer.from(given, "base64")), this.#expected);
  }

  #digest(text: Buffer): Buffer {
    return createHmac("sha256", this.#key).update(text).digest();
  }
}
