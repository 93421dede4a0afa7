import { AdminClient } from "../admin/client.ts";
import { printable } from "../lib/printable.ts";
import { localTime } from "../lib/times.ts";
import type { SystemEvent } from "../scaleio/model.ts";
import type { Asked } from "./answer.ts";
import { type Context, EXIT } from "./context.ts";

/** How long one question waits for an answer (s). */
const WAIT = 10;

/** `rexray-sim events`: what has happened; with `follow`, also what happens, until the daemon ends. */
export async function events(context: Context, options: Asked & { follow: boolean }): Promise<number> {
  const client = new AdminClient(options.runDir);
  let last = 0;
  const show = (found: readonly SystemEvent[]) => {
    for (const event of found) context.out(options.json ? `${JSON.stringify(event)}\n` : line(event));
    last = found.at(-1)?.id ?? last;
  };
  show(await client.events(last, 0));
  while (options.follow) show(await client.events(last, WAIT));
  return EXIT.ok;
}

/** As the product's own tool prints them, in local time (spec/scaleio.md 1.12). */
const line = ({ id, at, name, severity, text }: SystemEvent) =>
  `${id} ${localTime(at)} ${name} ${severity.toUpperCase()} ${printable(text)}\n`;
