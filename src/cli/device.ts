import { AdminClient } from "../admin/client.ts";
import type { StatusReport } from "../admin/report.ts";
import { parseSize } from "../lib/size.ts";
import { type Asked, tell } from "./answer.ts";
import { type Context, EXIT } from "./context.ts";
import { nodeOf, waitFor } from "./sds-order.ts";
import { healthy } from "./sds-orders.ts";

/** What `sds add` and `device add` may say of the new device. */
export interface DeviceFlags {
  readonly path?: string;
  readonly size?: string;
}

/** A device that is named in an order; with `wait`, the command returns when the order has been carried out. */
type DeviceAsked = Asked & { readonly sds: string; readonly name: string; readonly wait: boolean };

const request = (name: string, { path, size }: DeviceFlags) => ({
  name,
  ...(path === undefined ? {} : { path }),
  ...(size === undefined ? {} : { sizeBytes: parseSize(size) }),
});

interface Change {
  readonly order: (client: AdminClient) => Promise<void>;
  readonly message: string;
  /** Whether it has been carried out. */
  readonly over: (status: StatusReport) => boolean;
}

/** Carries out a change of a node; for programs: the node as it is then. While it waits it says how far that is. */
async function change(
  context: Context,
  options: Asked & { readonly sds: string; readonly wait: boolean },
  { order, message, over }: Change,
): Promise<number> {
  const client = new AdminClient(options.runDir);
  await order(client);
  const said = `${message}\n`;
  if (options.wait) {
    context.err(said);
    await waitFor(context, client, over);
  }
  tell(context, options, await nodeOf(client, options.sds), options.wait ? "" : said);
  return EXIT.ok;
}

/** Every device has its share of the copies. */
const balanced = ({ pools }: StatusReport) => pools.every(({ rebalanceBytes }) => rebalanceBytes === 0);

/** `rexray-sim sds add NAME`: a node with one device. */
export function addSds(
  context: Context,
  options: Asked & { name: string; faultSet: string | undefined; wait: boolean; device: DeviceFlags },
): Promise<number> {
  const { name, faultSet, device } = options;
  const sds = { ...request(name, device), ...(faultSet === undefined ? {} : { faultSet }) };
  const message = `${name} is added; copies are moved to it`;
  return change(context, { ...options, sds: name }, { order: (client) => client.addSds(sds), message, over: balanced });
}

/** `rexray-sim device add SDS NAME`. */
export function addDevice(context: Context, options: DeviceAsked & { device: DeviceFlags }): Promise<number> {
  const { sds, name, device } = options;
  const message = `${sds}/${name} is added; copies are moved to it`;
  return change(context, options, {
    order: (client) => client.addDevice(sds, request(name, device)),
    message,
    over: balanced,
  });
}

/** `rexray-sim device resize SDS NAME SIZE`. */
export function resizeDevice(context: Context, options: DeviceAsked & { size: string }): Promise<number> {
  const { sds, name, size } = options;
  const message = `${sds}/${name} has ${size} now; copies are moved accordingly`;
  return change(context, options, {
    order: (client) => client.resizeDevice(sds, name, parseSize(size)),
    message,
    over: balanced,
  });
}

/** `rexray-sim device clear SDS NAME`. */
export function clearDevice(context: Context, options: DeviceAsked): Promise<number> {
  const { sds, name } = options;
  const message = `${sds}/${name} is believed again; what it missed is copied to it`;
  return change(context, options, { order: (client) => client.clearDevice(sds, name), message, over: healthy });
}

/** `rexray-sim device remove SDS NAME`. */
export function removeDevice(context: Context, options: DeviceAsked): Promise<number> {
  const { sds, name } = options;
  return change(context, options, {
    order: (client) => client.removeDevice(sds, name),
    message: `${sds}/${name} is being emptied`,
    over: (status) => !status.sds.some((node) => node.name === sds && node.deviceNames.includes(name)),
  });
}
