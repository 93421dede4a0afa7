import { pluginApp } from "../docker/plugin-app.ts";
import { servePlugin } from "../docker/serve-plugin.ts";
import type { Dirs } from "../lib/dirs.ts";
import { asSimError } from "../lib/errors.ts";
import type { VolumeService } from "../volumes/service.ts";
import { PLUGIN_NAMES } from "./daemon.ts";

/**
 * Serves the plugin's sockets with one answer to everything: why the daemon could not start. Whoever asks Docker for a volume
 * reads it then, while of a plugin that has ended Docker says nothing but that its socket is gone.
 */
export async function serveRefusal(dirs: Dirs, error: unknown): Promise<void> {
  const reason = asSimError(error);
  const service = new Proxy({} as VolumeService, { get: () => () => Promise.reject(reason) });
  for (const name of PLUGIN_NAMES)
    await servePlugin({ app: pluginApp(service, () => undefined), dir: dirs.pluginDir, name });
}
