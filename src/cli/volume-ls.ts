import { AdminClient } from "../admin/client.ts";
import { type Asked, show } from "./answer.ts";
import { type Context, EXIT } from "./context.ts";
import { volumeTable } from "./status.ts";

/** `rexray-sim volume ls`. */
export async function volumeLs(context: Context, options: Asked): Promise<number> {
  const report = await new AdminClient(options.runDir).status();
  show(context, options, report.volumes, volumeTable(report, context.color));
  return EXIT.ok;
}
