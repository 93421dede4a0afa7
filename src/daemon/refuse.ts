import type { Express } from "express";
import { pluginApp } from "../docker/plugin-app.ts";
import type { Dirs } from "../lib/dirs.ts";
import { asSimError, SimError } from "../lib/errors.ts";
import { onMachine } from "../lib/machine-paths.ts";
import { NameBook } from "../lib/name-book.ts";
import type { VolumeService, VolumeView } from "../volumes/service.ts";

/** What Docker shows for a volume of unknown age. */
const UNKNOWN_TIME = "0001-01-01T00:00:00Z";

/**
 * Answers Docker while the daemon cannot start: every call that does something gets the reason, for whoever asks Docker for a
 * volume to read. Volumes that there are, by their names, are still there for those who only look, with the reason as their
 * status. Docker forgets a volume that is not (docker-volume-plugin.md 1.4), or whose plugin does not run when Docker starts,
 * and makes an empty `local` one of that name at the next chance.
 */
export function refusalApp(dirs: Dirs, error: unknown): Express {
  const { code, message } = asSimError(error);
  const reason = new SimError(
    code,
    `${message} (nothing is served until that is mended and the plugin disabled and enabled)`,
  );
  const names = new NameBook(dirs.namesDirs ?? []).read();
  const view = (name: string): VolumeView => ({
    name,
    sizeBytes: 0,
    createdAt: UNKNOWN_TIME,
    mountpoint: "",
    status: { error: onMachine(reason.message) },
  });
  const looks: Partial<VolumeService> = {
    async get(name) {
      if (names.has(name)) return view(name);
      throw new SimError("not_found", `resource not found, but: ${reason.message}`);
    },
    list: async () => [...names].sort().map(view),
  };
  const service = new Proxy(looks as VolumeService, {
    get: (target, call: keyof VolumeService) => target[call] ?? (() => Promise.reject(reason)),
  });
  return pluginApp(service, () => undefined);
}
