import { setTimeout as pause } from "node:timers/promises";
import { AdminClient } from "../admin/client.ts";
import type { StatusReport } from "../admin/report.ts";
import { type Context, EXIT } from "./context.ts";
import { SDS_ORDERS, type SdsOrder } from "./sds-orders.ts";

/** How often the status is asked for while waiting (ms). */
const POLL = 200;

/** `rexray-sim sds ORDER NAME`; with `wait`, returns when the order has been carried out and says meanwhile what is missing. */
export async function sdsOrder(
  context: Context,
  options: { runDir: string; name: string; order: SdsOrder; wait: boolean },
): Promise<number> {
  const { name, order } = options;
  const client = new AdminClient(options.runDir);
  await client.sds(name, order);
  context.err(`${name} ${SDS_ORDERS[order].said}\n`);
  if (options.wait) await waitFor(context, client, (status) => SDS_ORDERS[order].over(status, name));
  return EXIT.ok;
}

/** Says what the health is whenever that changes, until the condition holds. */
async function waitFor(context: Context, client: AdminClient, over: (status: StatusReport) => boolean): Promise<void> {
  let said = "";
  for (;;) {
    const status = await client.status();
    const text = `health ${status.health}${status.reasons.map((reason) => `; ${reason}`).join("")}\n`;
    if (text !== said) context.err(text);
    said = text;
    if (over(status)) return;
    await pause(POLL);
  }
}
