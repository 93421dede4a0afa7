import { AdminClient } from "../admin/client.ts";
import { type Context, EXIT } from "./context.ts";
import { noteIfOld, volumeTable } from "./status.ts";

/** `rexray-sim volume ls`. */
export async function volumeLs(context: Context, options: { runDir: string; json: boolean }): Promise<number> {
  const report = await new AdminClient(options.runDir).status();
  noteIfOld(context, report);
  context.out(options.json ? `${JSON.stringify(report.volumes, undefined, 2)}\n` : volumeTable(report, context.color));
  return EXIT.ok;
}
