/** A database that the demo runs on a volume: it keeps numbers. */
export interface Database {
  /** With its version, for people. */
  readonly name: string;
  /** Begins on a directory, which is empty the first time; takes connections when it returns. */
  start(directory: string): Promise<void>;
  /** When it returns, the number is there for ever. Throws when it is not. */
  add(n: number): Promise<void>;
  all(): Promise<number[]>;
  /** In order. */
  stop(): Promise<void>;
}
