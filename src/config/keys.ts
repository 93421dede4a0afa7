/**
 * The keys of REX-Ray's configuration (spec/rexray.md 2.3), lower-cased as they are compared. The value of a key says what
 * it does here: a reader for those that are honoured, a sentence for those that are accepted and do nothing.
 */
export type Kind = "boolean" | "integer" | "octal" | "duration" | "size" | "level" | "text" | "path";

const OPERATIONS = "libstorage.integration.volume.operations";

/** Honoured. */
export const KEYS = {
  [`${OPERATIONS}.create.disable`]: { kind: "boolean", fallback: false },
  [`${OPERATIONS}.create.implicit`]: { kind: "boolean", fallback: true },
  [`${OPERATIONS}.create.default.size`]: { kind: "size", fallback: 16 * 1024 ** 3 },
  [`${OPERATIONS}.create.default.fstype`]: { kind: "text", fallback: "ext4" },
  [`${OPERATIONS}.create.default.type`]: { kind: "text", fallback: "" },
  [`${OPERATIONS}.create.default.iops`]: { kind: "integer", fallback: 0 },
  [`${OPERATIONS}.mount.path`]: { kind: "path", fallback: "" },
  [`${OPERATIONS}.mount.rootpath`]: { kind: "path", fallback: "/data" },
  [`${OPERATIONS}.mount.preempt`]: { kind: "boolean", fallback: false },
  [`${OPERATIONS}.mount.retrycount`]: { kind: "integer", fallback: 0 },
  [`${OPERATIONS}.mount.retrywait`]: { kind: "duration", fallback: 5000 },
  [`${OPERATIONS}.unmount.ignoreusedcount`]: { kind: "boolean", fallback: false },
  [`${OPERATIONS}.remove.disable`]: { kind: "boolean", fallback: false },
  "linux.volume.filemode": { kind: "octal", fallback: 0o700 },
  "scaleio.thinorthick": { kind: "text", fallback: "ThinProvisioned" },
  "rexray.loglevel": { kind: "level", fallback: "warn" },
} as const satisfies Record<string, { kind: Kind; fallback: string | number | boolean }>;

export type Key = keyof typeof KEYS;

/** The operations part of a key, spelled out once. */
export const operation = <S extends string>(suffix: S): `${typeof OPERATIONS}.${S}` => `${OPERATIONS}.${suffix}`;

/** Accepted for the sake of files that people have; they do nothing here. A key covers all below it. */
export const WITHOUT_EFFECT: readonly string[] = [
  "rexray.host",
  "rexray.service",
  "rexray.module",
  "rexray.modules",
  "rexray.docker",
  "rexray.csi",
  "rexray.cli",
  "rexray.agent",
  "csi",
  "libstorage.service",
  "libstorage.host",
  "libstorage.embedded",
  "libstorage.client",
  "libstorage.server",
  "libstorage.device",
  "libstorage.os",
  "libstorage.storage",
  "libstorage.integration.driver",
  "libstorage.logging",
  "libstorage.http",
  "libstorage.tls",
  "libstorage.executor",
  `${OPERATIONS}.create.default.availabilityzone`,
  `${OPERATIONS}.path`,
  `${OPERATIONS}.remove.force`,
  "linux.volume.rootpath",
  "scaleio",
];

/** Dead since REX-Ray 0.11, which ignores them silently, and what took their place (spec/rexray.md 0.7). */
export const DEAD: Readonly<Record<string, string>> = {
  "docker.size": `${OPERATIONS}.create.default.size`,
  "docker.fstype": `${OPERATIONS}.create.default.fsType`,
  "docker.volumetype": `${OPERATIONS}.create.default.type`,
  "docker.iops": `${OPERATIONS}.create.default.IOPS`,
  "volume.mount.preempt": `${OPERATIONS}.mount.preempt`,
  "volume.unmount.ignoreusedcount": `${OPERATIONS}.unmount.ignoreusedcount`,
  "rexray.storagedrivers": "libstorage.service",
};

/** The environment variable of a key: `a.b.cD` is A_B_CD. */
export const variableOf = (key: string): string => key.replaceAll(".", "_").toUpperCase();
