export const MIB = 1024 * 1024;
/** What reads and writes are aligned to, and what the model knows one by one. */
export const SECTOR = 512;
