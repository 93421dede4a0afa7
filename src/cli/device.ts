import { AdminClient } from "../admin/client.ts";
import { parseSize } from "../lib/size.ts";
import { type Asked, tell } from "./answer.ts";
import { type Context, EXIT } from "./context.ts";
import { nodeOf, waitFor } from "./sds-order.ts";

/** What `sds add` and `device add` may say of the new device. */
export interface DeviceFlags {
  readonly path?: string;
  readonly size?: string;
}

const request = (name: string, { path, size }: DeviceFlags) => ({
  name,
  ...(path === undefined ? {} : { path }),
  ...(size === undefined ? {} : { sizeBytes: parseSize(size) }),
});

/** Carries out a change of a node; for programs: the node as it is then. */
async function change(
  context: Context,
  options: Asked & { sds: string },
  order: (client: AdminClient) => Promise<void>,
  message: string,
): Promise<number> {
  const client = new AdminClient(options.runDir);
  await order(client);
  tell(context, options, await nodeOf(client, options.sds), `${message}\n`);
  return EXIT.ok;
}

/** `rexray-sim sds add NAME`: a node with one device. `wait`: until it has its share of the copies. */
export function addSds(
  context: Context,
  options: Asked & { name: string; faultSet: string | undefined; wait: boolean; device: DeviceFlags },
): Promise<number> {
  const { name, faultSet, wait, device } = options;
  const sds = { ...request(name, device), ...(faultSet === undefined ? {} : { faultSet }) };
  const message = `${name} is added; copies are moved to it`;
  const order = async (client: AdminClient) => {
    await client.addSds(sds);
    if (wait) await waitFor(context, client, ({ pools }) => pools.every((pool) => pool.rebalanceBytes === 0));
  };
  return change(context, { ...options, sds: name }, order, message);
}

/** `rexray-sim device add SDS NAME`. */
export function addDevice(
  context: Context,
  options: Asked & { sds: string; name: string; device: DeviceFlags },
): Promise<number> {
  const { sds, name, device } = options;
  const message = `${sds}/${name} is added; copies are moved to it`;
  return change(context, options, (client) => client.addDevice(sds, request(name, device)), message);
}

/** `rexray-sim device resize SDS NAME SIZE`. */
export function resizeDevice(
  context: Context,
  options: Asked & { sds: string; name: string; size: string },
): Promise<number> {
  const { sds, name, size } = options;
  const message = `${sds}/${name} has ${size} now; copies are moved accordingly`;
  return change(context, options, (client) => client.resizeDevice(sds, name, parseSize(size)), message);
}

/** `rexray-sim device clear SDS NAME`. */
export function clearDevice(context: Context, options: Asked & { sds: string; name: string }): Promise<number> {
  const { sds, name } = options;
  const message = `${sds}/${name} is believed again; what it missed is copied to it`;
  return change(context, options, (client) => client.clearDevice(sds, name), message);
}

/** `rexray-sim device remove SDS NAME`. */
export function removeDevice(context: Context, options: Asked & { sds: string; name: string }): Promise<number> {
  const { sds, name } = options;
  return change(context, options, (client) => client.removeDevice(sds, name), `${sds}/${name} is being emptied`);
}
