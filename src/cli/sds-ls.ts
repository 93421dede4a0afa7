import { AdminClient } from "../admin/client.ts";
import { type Asked, show } from "./answer.ts";
import { type Context, EXIT } from "./context.ts";
import { nodeTable, noteIfOld } from "./status.ts";

/** `rexray-sim sds ls`. */
export async function sdsLs(context: Context, options: Asked): Promise<number> {
  const report = await new AdminClient(options.runDir).status();
  noteIfOld(context, report);
  show(context, options, report.sds, nodeTable(report, context.color));
  return EXIT.ok;
}
