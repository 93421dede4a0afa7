import { AdminClient } from "../admin/client.ts";
import { type Asked, show } from "./answer.ts";
import { type Context, EXIT } from "./context.ts";
import { noteIfOld, volumeTable } from "./status.ts";

/** `rexray-sim volume ls`. */
export async function volumeLs(context: Context, options: Asked): Promise<number> {
  const report = await new AdminClient(options.runDir).status();
  noteIfOld(context, report);
  show(context, options, report.volumes, volumeTable(report, context.color));
  return EXIT.ok;
}
