import { AdminClient } from "../admin/client.ts";
import { parseSize } from "../lib/size.ts";
import { type Context, EXIT } from "./context.ts";
import { waitFor } from "./sds-order.ts";

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

/** `rexray-sim sds add NAME`: a node with one device. `wait`: until it has its share of the copies. */
export async function addSds(
  context: Context,
  options: { runDir: string; name: string; faultSet: string | undefined; wait: boolean; device: DeviceFlags },
): Promise<number> {
  const faultSet = options.faultSet === undefined ? {} : { faultSet: options.faultSet };
  const client = new AdminClient(options.runDir);
  await client.addSds({ ...request(options.name, options.device), ...faultSet });
  context.err(`${options.name} is added; copies are moved to it\n`);
  if (options.wait) await waitFor(context, client, ({ pools }) => pools.every((pool) => pool.rebalanceBytes === 0));
  return EXIT.ok;
}

/** `rexray-sim device add SDS NAME`. */
export async function addDevice(
  context: Context,
  options: { runDir: string; sds: string; name: string; device: DeviceFlags },
): Promise<number> {
  await new AdminClient(options.runDir).addDevice(options.sds, request(options.name, options.device));
  context.err(`${options.sds}/${options.name} is added; copies are moved to it\n`);
  return EXIT.ok;
}

/** `rexray-sim device resize SDS NAME SIZE`. */
export async function resizeDevice(
  context: Context,
  options: { runDir: string; sds: string; name: string; size: string },
): Promise<number> {
  await new AdminClient(options.runDir).resizeDevice(options.sds, options.name, parseSize(options.size));
  context.err(`${options.sds}/${options.name} has ${options.size} now; copies are moved accordingly\n`);
  return EXIT.ok;
}

/** `rexray-sim device remove SDS NAME`. */
export async function removeDevice(
  context: Context,
  options: { runDir: string; sds: string; name: string },
): Promise<number> {
  await new AdminClient(options.runDir).removeDevice(options.sds, options.name);
  context.err(`${options.sds}/${options.name} is being emptied\n`);
  return EXIT.ok;
}
