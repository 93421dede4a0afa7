/**
 * The volume service: what REX-Ray does between a front door (Docker, Mesos, a CLI) and a storage driver. Names,
 * options, implicit create, use counts, format, mount. Front doors know this interface and nothing beneath it.
 */

/** A volume as a front door sees it. */
export interface VolumeView {
  readonly name: string;
  /** Bytes; always a multiple of the driver's granularity. */
  readonly sizeBytes: number;
  /** RFC 3339, stable over restarts. */
  readonly createdAt: string;
  /** Where a container would bind it from; "" while not mounted. */
  readonly mountpoint: string;
  /** What `docker volume inspect` shows as Status (spec/rexray.md 4 key set, plus ours). */
  readonly status: Readonly<Record<string, unknown>>;
}

export interface VolumeService {
  /**
   * Creates a volume; a volume of that name is left as it is (idempotent). Option keys are case-insensitive.
   * Throws invalid_argument, no_capacity, no_quorum.
   */
  create(name: string, options: Readonly<Record<string, string>>): Promise<void>;

  /**
   * Snapshots of mounted or unmounted volumes at one instant; each is a volume. Throws not_found, already_exists,
   * invalid_argument, no_capacity, unavailable, no_quorum.
   */
  snapshot(requests: readonly { readonly volume: string; readonly name: string }[]): Promise<void>;

  /** Gives an unmounted volume the content of a snapshot of it. Throws not_found, in_use, invalid_argument. */
  overwrite(name: string, from: string): Promise<void>;

  /** Makes a volume larger, and its file system with it. Throws not_found, invalid_argument, no_capacity, unavailable. */
  resize(name: string, sizeBytes: number): Promise<void>;

  /** Deletes a volume and its data. A missing volume is success. Throws in_use while it is mounted anywhere. */
  remove(name: string): Promise<void>;

  /**
   * Mounts (creating the volume when implicit creation is on) and counts one use under `id` ("" for callers that
   * send none). Answers the absolute directory to bind. When `signal` aborts, the use is not counted, what was begun
   * is undone and `cancelled` is thrown.
   */
  mount(name: string, id: string, signal?: AbortSignal): Promise<string>;

  /** Gives back one use of `id`; at the last one the file system is unmounted and the volume detached. Unknown ids succeed. */
  unmount(name: string, id: string): Promise<void>;

  /** The mountpoint, "" when not mounted or unknown. Never waits for a running operation. */
  path(name: string): Promise<string>;

  /** Throws not_found. Never waits for a running operation on the volume. */
  get(name: string): Promise<VolumeView>;

  /** All volumes by name. Never waits for running operations. */
  list(): Promise<VolumeView[]>;

  /** Compares counts with the kernel's mounts: at start, before anybody is served. */
  reconcile(): Promise<void>;
}
