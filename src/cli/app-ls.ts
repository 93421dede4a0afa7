import { AdminClient } from "../admin/client.ts";
import { type Asked, show } from "./answer.ts";
import { type Context, EXIT } from "./context.ts";
import { table } from "./text.ts";

/** `rexray-sim app ls`. */
export async function appLs(context: Context, options: Asked): Promise<number> {
  const apps = await new AdminClient(options.runDir).apps();
  const rows = apps.map(({ id, wanted, running, healthy, hosts, waiting }) => [
    id,
    `${running}/${wanted}`,
    String(healthy),
    hosts.join(" "),
    waiting.join("; "),
  ]);
  const text =
    rows.length === 0 ? "no applications\n" : table(["APP", "RUNNING", "HEALTHY", "AGENTS", "WAITS BECAUSE"], rows);
  show(context, options, apps, text);
  return EXIT.ok;
}
