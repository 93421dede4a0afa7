import {
  growFileSystem,
  growUnmounted,
  makeDirectory,
  makeFileSystem,
  mountFileSystem,
  probe,
  resolvePaths,
  setMode,
  syncFileSystem,
  unmountFileSystem,
} from "../host/filesystem.ts";
import { thaw, whileFrozen } from "../host/freeze.ts";
import { deviceNumber, isBusy } from "../host/loop.ts";
import { foreignHolders, type Holder, type Mount, mountsOf } from "../host/mountinfo.ts";

/** What the volume service asks of the kernel. A port, so that the service's rules can be tested without one. */
export interface FileSystems {
  /** This namespace's mounts at a directory, in order of mounting. */
  mountsAt(directory: string): Mount[];
  /** This namespace's mounts of a device, in order of mounting. */
  mountsOf(device: string): Mount[];
  probe: typeof probe;
  make: typeof makeFileSystem;
  mount: typeof mountFileSystem;
  sync: typeof syncFileSystem;
  unmount: typeof unmountFileSystem;
  grow: typeof growFileSystem;
  growUnmounted: typeof growUnmounted;
  whileFrozen: typeof whileFrozen;
  thaw: typeof thaw;
  makeDirectory: typeof makeDirectory;
  setMode: typeof setMode;
  /** Where paths lead, links followed. */
  resolve: typeof resolvePaths;
  /** Whether any namespace, this one included, has the device mounted. */
  busy(device: string): Promise<boolean>;
  /** Processes of other namespaces that have it mounted; undefined when they cannot be seen from here. */
  holders(device: string): Promise<Holder[] | undefined>;
}

/** The real one. */
export const kernelFileSystems: FileSystems = {
  mountsAt: (directory) => mountsOf(({ mountpoint }) => mountpoint === directory),
  mountsOf: (device) => mountsOf(({ source }) => source === device),
  probe,
  make: makeFileSystem,
  mount: mountFileSystem,
  sync: syncFileSystem,
  unmount: unmountFileSystem,
  grow: growFileSystem,
  growUnmounted,
  whileFrozen,
  thaw,
  makeDirectory,
  setMode,
  resolve: resolvePaths,
  busy: isBusy,
  holders: async (device) => foreignHolders(await deviceNumber(device)),
};
