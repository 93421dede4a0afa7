import fs from "node:fs";
import { isatty } from "node:tty";
import { main, writeAll } from "../dvdcli/main.ts";
import { onMachine } from "../lib/machine-paths.ts";

declare const DVDCLI_COMMIT: string | undefined;

const stamp = typeof DVDCLI_COMMIT === "string" ? DVDCLI_COMMIT : "";

void main(process.argv.slice(2), {
  dirs: {
    sockets: process.env["REXRAY_SIM_PLUGIN_DIR"] || "/run/docker/plugins",
    specs: ["/etc/docker/plugins", "/usr/lib/docker/plugins"],
  },
  out: (text) => writeAll(1, onMachine(text)),
  err: (text) => writeAll(2, onMachine(text)),
  terminal: isatty(1),
  pause: (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000)),
  version: { semver: "", commit: stamp, branch: "", formed: "" },
  binary: fs.realpathSync(process.argv[1] ?? ""),
}).then((status) => process.exit(status));
