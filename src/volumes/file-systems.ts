import { makeDirectory, makeFileSystem, mountFileSystem, probe, unmountFileSystem } from "../host/filesystem.ts";
import { deviceNumber, isBusy } from "../host/loop.ts";
import { foreignHolders, type Holder, type Mount, mountsOf } from "../host/mountinfo.ts";

/** What the volume service asks of the kernel. A port, so that the service's rules can be tested without one. */
export interface FileSystems {
  /** This namespace's mounts at or below a directory, in order of mounting. */
  mountsBelow(directory: string): Promise<Mount[]>;
  probe: typeof probe;
  make: typeof makeFileSystem;
  mount: typeof mountFileSystem;
  unmount: typeof unmountFileSystem;
  makeDirectory: typeof makeDirectory;
  /** Whether any namespace, this one included, has the device mounted. */
  busy(device: string): Promise<boolean>;
  /** Processes of other namespaces that have it mounted. */
  holders(device: string): Promise<Holder[]>;
}

export const kernelFileSystems: FileSystems = {
  mountsBelow: (directory) => mountsOf(({ mountpoint }) => mountpoint === directory || mountpoint.startsWith(`${directory}/`)),
  probe,
  make: makeFileSystem,
  mount: mountFileSystem,
  unmount: unmountFileSystem,
  makeDirectory,
  busy: isBusy,
  holders: async (device) => foreignHolders(await deviceNumber(device)),
};
