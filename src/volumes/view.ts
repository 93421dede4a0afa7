import type { DriverVolume } from "../drivers/driver.ts";
import type { VolumeView } from "./service.ts";

const GIB = 1024 ** 3;

/** A volume as front doors show it: REX-Ray's status keys (spec/rexray.md 4), the driver's own facts among the fields. */
export function volumeView(volume: DriverVolume, driver: string, mountpoint: string): VolumeView {
  const { name, sizeBytes, createdAt, type, availabilityZone, iops, fields, attachedTo, fsType } = volume;
  return {
    name,
    sizeBytes,
    createdAt,
    mountpoint,
    status: {
      availabilityZone,
      fields: { ...fields, fsType, attachedTo: attachedTo ?? "" },
      iops,
      name,
      server: driver,
      service: driver,
      // Whole GB, as clients expect; only volumes smaller than a ScaleIO cluster allows are rounded.
      size: Math.ceil(sizeBytes / GIB),
      type,
    },
  };
}
