/**
 * The storage-driver interface: what REX-Ray's libStorage drivers do, reduced to what the volume service needs.
 * A driver turns a named volume into a block device on this host. It knows nothing of file systems.
 */

export interface DriverVolume {
  /** The backend's id; never reused. */
  readonly id: string;
  readonly name: string;
  readonly sizeBytes: number;
  /** RFC 3339. */
  readonly createdAt: string;
  /** Storage pool. */
  readonly type: string;
  /** Protection domain. */
  readonly availabilityZone: string;
  /** 0 = unlimited. */
  readonly iops: number;
  /** Host the volume is mapped to, or null. */
  readonly attachedTo: string | null;
  /** File system asked for at creation; survives with the volume. */
  readonly fsType: string;
  /** Further facts a user may want to see in Status: health, copies. Flat values. */
  readonly fields: Readonly<Record<string, string>>;
}

export interface CreateRequest {
  readonly name: string;
  /** What the user asked for; the driver rounds up to its granularity. */
  readonly sizeBytes: number;
  readonly fsType: string;
  /** Pool name, "" for the default. */
  readonly type: string;
  readonly iops: number;
  /** All its capacity is set aside at once. */
  readonly thick: boolean;
}

export interface SnapshotRequest {
  readonly volumeId: string;
  /** The snapshot's name: it is a volume. */
  readonly name: string;
  /** Its own limit; none unless told. */
  readonly iops?: number;
}

/** Runs a task while nothing is written to the volumes that it is about. */
export type Quiesced = (task: () => Promise<void>) => Promise<void>;

export interface AttachedDevice {
  /** Its path. */
  readonly device: string;
  /** It is certain that nothing was ever written to the volume: nobody need look. */
  readonly blank: boolean;
}

export interface StorageDriver {
  readonly name: string;

  /** Host name used in {@link DriverVolume.attachedTo} for volumes attached here. */
  readonly host: string;

  /**
   * False while what the driver says may be old: volumes may be listed and found, but nothing may be done by it, nor may
   * anything be taken for nobody's. The other methods throw no_quorum then.
   */
  readonly isCurrent: boolean;

  /** Throws no_quorum, in words for a person, unless it is current. */
  checkCurrent(): void;

  /** Synchronous and from memory: front doors ask before nearly every call. */
  list(): DriverVolume[];
  find(name: string): DriverVolume | undefined;

  /** Throws already_exists, invalid_argument, no_capacity, no_quorum. */
  create(request: CreateRequest): Promise<DriverVolume>;

  /** Throws in_use while attached. */
  remove(id: string): Promise<void>;

  /** Snapshots of these volumes at one instant. Throws already_exists, no_capacity, unavailable, no_quorum. */
  snapshot(requests: readonly SnapshotRequest[], quiesced: Quiesced): Promise<DriverVolume[]>;

  /** Gives a volume the content of a snapshot of it. Throws in_use while it is attached, invalid_argument. */
  overwrite(id: string, fromId: string, quiesced: Quiesced): Promise<void>;

  /** Makes the volume, and its device if it has one, larger. Throws invalid_argument, no_capacity, unavailable, no_quorum. */
  resize(id: string, sizeBytes: number): Promise<DriverVolume>;

  /**
   * Makes the volume a block device of this host. Idempotent: an attached volume answers the same device. Throws in_use when another host has it and `preempt` is not set, or while a former attachment is
   * still held by a foreign mount namespace.
   */
  attach(id: string, options: { preempt: boolean }): Promise<AttachedDevice>;

  /**
   * The block device of an attached and served volume, undefined otherwise; a dead attachment counts as none. `anyHost`: also
   * one of another host, since all of them are simulated on this machine.
   */
  device(id: string, options?: { anyHost: boolean }): Promise<string | undefined>;

  /**
   * Takes the device away. Idempotent. `released: false` means that the kernel still holds it (a foreign namespace);
   * it goes on being served and may not be attached again until it is let go.
   */
  detach(id: string): Promise<{ released: boolean }>;
}
