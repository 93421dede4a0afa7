import { AdminClient } from "../admin/client.ts";
import { type Context, EXIT } from "./context.ts";
import { nodeTable, noteIfOld } from "./status.ts";

/** `rexray-sim sds ls`. */
export async function sdsLs(context: Context, options: { runDir: string; json: boolean }): Promise<number> {
  const report = await new AdminClient(options.runDir).status();
  noteIfOld(context, report);
  context.out(options.json ? `${JSON.stringify(report.sds, undefined, 2)}\n` : nodeTable(report, context.color));
  return EXIT.ok;
}
