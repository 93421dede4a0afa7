import { setTimeout as pause } from "node:timers/promises";
import { AdminClient } from "../admin/client.ts";
import type { StatusReport } from "../admin/report.ts";
import { type Asked, tell } from "./answer.ts";
import { type Context, EXIT } from "./context.ts";
import { progressLines } from "./progress.ts";
import { SDS_ORDERS, type SdsOrder } from "./sds-orders.ts";

/** How often the status is asked for while waiting (ms). */
const POLL = 200;
/** How many of the reasons are told. */
const MOST_REASONS = 5;
/** How often there is something new to read (ms). */
const SAY_EVERY = 1000;

/**
 * `rexray-sim sds ORDER NAME`; with `wait`, returns when the order has been carried out and says meanwhile, on standard error,
 * what is missing. For programs: the node as it is then.
 */
export async function sdsOrder(
  context: Context,
  options: Asked & { name: string; order: SdsOrder; wait: boolean },
): Promise<number> {
  const { name, order } = options;
  const client = new AdminClient(options.runDir);
  await client.sds(name, order);
  const said = `${name} ${SDS_ORDERS[order].said}\n`;
  if (options.wait) {
    context.err(said);
    await waitFor(context, client, (status) => SDS_ORDERS[order].over(status, name));
  }
  tell(context, options, await nodeOf(client, name), options.wait ? "" : said);
  return EXIT.ok;
}

/** A node as `sds ls --json` has it; one that is not there any more is "gone". */
export async function nodeOf(client: AdminClient, name: string): Promise<object> {
  const { sds } = await client.status();
  return sds.find((node) => node.name === name) ?? { name, state: "gone" };
}

/** Says what the health is and how far the work is, at most once a second, until the condition holds. */
export async function waitFor(
  context: Context,
  client: AdminClient,
  over: (status: StatusReport) => boolean,
): Promise<void> {
  const most = new Map<string, number>();
  let said = { text: "", at: Number.NEGATIVE_INFINITY };
  for (;;) {
    const began = performance.now();
    const status = await client.status();
    const { reasons } = status;
    const others = reasons.length > MOST_REASONS ? [`and ${reasons.length - MOST_REASONS} more`] : [];
    const health = [`health ${status.health}`, ...reasons.slice(0, MOST_REASONS), ...others].join("; ");
    const text = [health, ...progressLines(status, most)].map((line) => `${line}\n`).join("");
    const ended = over(status);
    if (text !== said.text && (ended || performance.now() - said.at >= SAY_EVERY)) {
      context.err(text);
      said = { text, at: performance.now() };
    }
    if (ended) return;
    // A large cluster has enough to do without being asked all the time.
    await pause(Math.max(POLL, 5 * (performance.now() - began)));
  }
}
