import fs from "node:fs";
import path from "node:path";
import type { Device, Id } from "../model.ts";

const SUFFIX = ".vol";
/** Checksums, beside the file that they are of (sdc/sums.ts). */
const SUM_SUFFIX = ".sum";

/** The sparse file that holds a layer's chunks on a device; chunk c lies at byte c * CHUNK_BYTES. A volume's first layer has its id. */
export const volumeFile = (device: Pick<Device, "path">, volumeId: Id): string =>
  path.join(device.path, `${volumeId}${SUFFIX}`);

/** Makes the empty file of a new layer. Throws errno errors. */
export function createVolumeFile(
  device: Pick<Device, "path">,
  volumeId: Id,
  sizeBytes: number,
  { checksum }: { checksum: boolean },
): void {
  const file = volumeFile(device, volumeId);
  // Zeros are the checksums of zeros.
  if (checksum) fs.closeSync(fs.openSync(file + SUM_SUFFIX, "w", 0o600));
  const fd = fs.openSync(file, "wx", 0o600);
  try {
    fs.ftruncateSync(fd, sizeBytes);
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** Idempotent; a device that cannot be reached keeps the file until {@link volumeIdsOn} finds it again. */
export function removeVolumeFile(device: Pick<Device, "path">, volumeId: Id): void {
  try {
    fs.rmSync(volumeFile(device, volumeId) + SUM_SUFFIX, { force: true });
    fs.unlinkSync(volumeFile(device, volumeId));
  } catch {
    // Found and removed at the next start.
  }
}

/** Bytes that the layer really takes on the device, 0 where it has no file. */
export function usedBytes(device: Pick<Device, "path">, volumeId: Id): number {
  return (fs.statSync(volumeFile(device, volumeId), { throwIfNoEntry: false })?.blocks ?? 0) * 512;
}

/** Ids of all layers that have a file on the device; none when it cannot be read. */
export function volumeIdsOn(device: Pick<Device, "path">): Id[] {
  try {
    return fs
      .readdirSync(device.path)
      .flatMap((name) => (name.endsWith(SUFFIX) ? [name.slice(0, -SUFFIX.length)] : []));
  } catch {
    return [];
  }
}
