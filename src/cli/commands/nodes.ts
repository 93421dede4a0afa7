import type { DeviceFlags } from "../device.ts";
import { SDS_ORDERS, type SdsOrder } from "../sds-orders.ts";
import { type Commands, type JsonFlag, type RunDirFlag, withDevice, withJson, withRunDir } from "./flags.ts";

/** Storage nodes and their devices. */
export function nodeCommands({ program, context, done, runDirOf }: Commands): void {
  const sds = program.command("sds").description("look at storage nodes, stop, start, add and remove them");
  withJson(sds.command("ls"))
    .description("list the nodes")
    .action(async (flags: JsonFlag) => {
      done(await (await import("../sds-ls.ts")).sdsLs(context, { runDir: runDirOf(flags), json: flags.json === true }));
    });
  for (const [order, { help }] of Object.entries(SDS_ORDERS) as [SdsOrder, { help: string }][]) {
    withRunDir(sds.command(`${order} <name>`))
      .description(help)
      .option("--wait", "return when that is done and every chunk has two good copies")
      .action(async (name: string, flags: RunDirFlag & { wait?: boolean }) => {
        const options = { runDir: runDirOf(flags), name, order, wait: flags.wait === true };
        done(await (await import("../sds-order.ts")).sdsOrder(context, options));
      });
  }
  withDevice(sds.command("add <name>"))
    .description("add a node with one device")
    .option("--fault-set <name>", "its fault set (default: one of its own)")
    .option("--wait", "return when it has its share of the copies")
    .action(async (name: string, flags: RunDirFlag & DeviceFlags & { faultSet?: string; wait?: boolean }) => {
      const { faultSet, wait = false } = flags;
      const options = { runDir: runDirOf(flags), name, faultSet, wait, device: flags };
      done(await (await import("../device.ts")).addSds(context, options));
    });

  const device = program.command("device").description("add devices to nodes, resize and remove them");
  withDevice(device.command("add <sds> <name>"))
    .description("add a device to a node")
    .action(async (sdsName: string, name: string, flags: RunDirFlag & DeviceFlags) => {
      const options = { runDir: runDirOf(flags), sds: sdsName, name, device: flags };
      done(await (await import("../device.ts")).addDevice(context, options));
    });
  withRunDir(device.command("resize <sds> <name> <size>"))
    .description("give a device another simulated capacity")
    .action(async (sdsName: string, name: string, size: string, flags: RunDirFlag) => {
      const options = { runDir: runDirOf(flags), sds: sdsName, name, size };
      done(await (await import("../device.ts")).resizeDevice(context, options));
    });
  withRunDir(device.command("remove <sds> <name>"))
    .description("move all copies away from a device, then remove it")
    .action(async (sdsName: string, name: string, flags: RunDirFlag) => {
      const options = { runDir: runDirOf(flags), sds: sdsName, name };
      done(await (await import("../device.ts")).removeDevice(context, options));
    });
}
