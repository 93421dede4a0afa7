import type { DeviceFlags } from "../device.ts";
import { SDS_ORDERS, type SdsOrder } from "../sds-orders.ts";
import { type AskedFlags, type Commands, withAsked, withDevice } from "./flags.ts";

interface Wait {
  readonly wait?: boolean;
}

/** Storage nodes and their devices. */
export function nodeCommands({ program, context, done, asked }: Commands): void {
  const sds = program.command("sds").description("look at storage nodes, stop, start, add and remove them");
  withAsked(sds.command("ls"))
    .description("list the nodes")
    .action(async (flags: AskedFlags) => done(await (await import("../sds-ls.ts")).sdsLs(context, asked(flags))));
  const named = (sdsName: string, name: string, flags: AskedFlags & Wait) => ({
    ...asked(flags),
    sds: sdsName,
    name,
    wait: flags.wait === true,
  });
  for (const [order, { help }] of Object.entries(SDS_ORDERS) as [SdsOrder, { help: string }][]) {
    withAsked(sds.command(`${order} <sds>`))
      .description(help)
      .option("--wait", "return when that is done and every chunk has two good copies")
      .action(async (name: string, flags: AskedFlags & Wait) => {
        const options = { ...asked(flags), name, order, wait: flags.wait === true };
        done(await (await import("../sds-order.ts")).sdsOrder(context, options));
      });
  }
  withDevice(sds.command("add <name>"))
    .description("add a node with one device")
    .option("--fault-set <name>", "its fault set (default: one of its own)")
    .option("--wait", "return when it has its share of the copies")
    .action(async (name: string, flags: AskedFlags & DeviceFlags & Wait & { faultSet?: string }) => {
      const { faultSet, wait = false } = flags;
      const options = { ...asked(flags), name, faultSet, wait, device: flags };
      done(await (await import("../device.ts")).addSds(context, options));
    });

  const device = program.command("device").description("add devices to nodes, resize, clear and remove them");
  withDevice(device.command("add <sds> <name>"))
    .description("add a device to a node")
    .option("--wait", "return when it has its share of the copies")
    .action(async (sdsName: string, name: string, flags: AskedFlags & DeviceFlags & Wait) => {
      const options = { ...named(sdsName, name, flags), device: flags };
      done(await (await import("../device.ts")).addDevice(context, options));
    });
  withAsked(device.command("resize <sds> <name> <size>"))
    .description("give a device another simulated capacity")
    .option("--wait", "return when all devices have their shares of the copies")
    .action(async (sdsName: string, name: string, size: string, flags: AskedFlags & Wait) => {
      const options = { ...named(sdsName, name, flags), size };
      done(await (await import("../device.ts")).resizeDevice(context, options));
    });
  withAsked(device.command("clear <sds> <name>"))
    .description("say that a device which has failed is well again")
    .option("--wait", "return when every chunk has two good copies")
    .action(async (sdsName: string, name: string, flags: AskedFlags & Wait) => {
      done(await (await import("../device.ts")).clearDevice(context, named(sdsName, name, flags)));
    });
  withAsked(device.command("remove <sds> <name>"))
    .description("move all copies away from a device, then remove it")
    .option("--wait", "return when it is gone")
    .action(async (sdsName: string, name: string, flags: AskedFlags & Wait) => {
      done(await (await import("../device.ts")).removeDevice(context, named(sdsName, name, flags)));
    });
}
