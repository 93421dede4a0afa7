import { setTimeout as pause } from "node:timers/promises";
import { AdminClient } from "../admin/client.ts";
import { type Context, EXIT } from "./context.ts";

/** How often health is asked for while waiting (ms). */
const POLL = 200;

/** `rexray-sim sds stop|start NAME`; with `wait`, returns when the health is ok and says meanwhile what is missing. */
export async function sdsPower(
  context: Context,
  options: { runDir: string; name: string; action: "stop" | "start"; wait: boolean },
): Promise<number> {
  const client = new AdminClient(options.runDir);
  await client.sds(options.name, options.action);
  context.err(`${options.name} is ${options.action === "stop" ? "stopped" : "started"}\n`);
  if (options.wait) await healthOk(context, client);
  return EXIT.ok;
}

async function healthOk(context: Context, client: AdminClient): Promise<void> {
  let said = "";
  for (;;) {
    const { health, reasons } = await client.status();
    const text = `health ${health}${reasons.map((reason) => `; ${reason}`).join("")}\n`;
    if (text !== said) context.err(text);
    said = text;
    if (health === "ok") return;
    await pause(POLL);
  }
}
