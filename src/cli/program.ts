import { Command, CommanderError, InvalidArgumentError } from "commander";
import { type DirFlags, resolveDirs } from "../lib/dirs.ts";
import { SimError } from "../lib/errors.ts";
import { VERSION } from "../lib/version.ts";
import { type Context, EXIT } from "./context.ts";
import type { DeviceFlags } from "./device.ts";
import type { FaultFlags } from "./fault.ts";
import { installCommands } from "./install.ts";
import { SDS_ORDERS, type SdsOrder } from "./sds-orders.ts";
import type { LimitFlags } from "./volume-changes.ts";

const EXAMPLES = `
Examples:
  rexray-sim up                                     start here, Ctrl-C stops
  rexray-sim up --detach                            start in the background
  docker volume create -d rexray-sim -o size=16 pg  make a volume
  rexray-sim status                                 see everything on one screen
  rexray-sim volume inspect pg                      see which nodes hold it
  rexray-sim sds stop sds1                          take a node down under it
  rexray-sim doctor                                 see what this machine lacks
  rexray-sim down                                   stop

Every command finds its instance by --run-dir (or REXRAY_SIM_RUN_DIR).
Exit status: 0 success, 1 failure, 2 wrong usage, 3 no instance runs.
`;

/**
 * Runs one command line and answers its exit status. The commands are loaded when they are called: what `--version` does
 * not need, it does not wait for.
 *
 * @param args without the program's own name
 */
export async function runCli(args: readonly string[], context: Context): Promise<number> {
  let status: number = EXIT.ok;
  const program = build(context, (result) => (status = result));
  try {
    await program.parseAsync(args, { from: "user" });
    return status;
  } catch (error) {
    // Commander has printed what it had to say.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    return explain(error, context);
  }
}

async function explain(error: unknown, context: Context): Promise<number> {
  if (!(error instanceof SimError)) {
    context.err(`rexray-sim: internal error: ${error instanceof Error ? error.stack : String(error)}\n`);
    return EXIT.internal;
  }
  const { NoDaemonError } = await import("../admin/client.ts");
  context.err(`rexray-sim: ${error.message}\n`);
  if (error instanceof NoDaemonError) return EXIT.noDaemon;
  return error.code === "internal" ? EXIT.internal : EXIT.failed;
}

interface RunDirFlag {
  runDir?: string;
}

interface JsonFlag extends RunDirFlag {
  json?: boolean;
}

function build(context: Context, done: (status: number) => void): Command {
  const { env } = context;
  const program = new Command("rexray-sim")
    .description("Persistent storage of DC/OS + REX-Ray + ScaleIO on one machine, for real")
    .version(VERSION, "-V, --version", "print the version")
    .helpOption("-h, --help", "print help")
    .addHelpText("after", EXAMPLES)
    .configureOutput({ writeOut: context.out, writeErr: context.err })
    .showHelpAfterError("(--help shows what there is)")
    .exitOverride();
  const runDirOf = (flags: RunDirFlag) => resolveDirs(flags, env).runDir;

  withDirs(program.command("up"))
    .description("start the cluster and serve its volumes to Docker")
    .option(
      "--plugin-name <name>",
      "a volume driver name to serve; repeatable (default: rexray-sim and rexray)",
      collect,
    )
    .option("-d, --detach", "run in the background; return when ready")
    .action(async (flags: DirFlags & { pluginName?: string[]; detach?: boolean }) => {
      const options = { dirs: resolveDirs(flags, env), pluginNames: flags.pluginName };
      if (flags.detach === true) done(await (await import("./up-detached.ts")).upDetached(context, options));
      else done(await (await import("./up.ts")).up(context, options));
    });

  withDirs(program.command("down"))
    .description("unmount what nobody holds and stop; also cleans up after a killed daemon")
    .option("-f, --force", "unmount also what is in use")
    .action(async (flags: DirFlags & { force?: boolean }) => {
      done(await (await import("./down.ts")).down(context, { flags, force: flags.force === true }));
    });

  withJson(program.command("status"))
    .description("show nodes, pool, volumes, mounts and health")
    .action(async (flags: JsonFlag) => {
      done(await (await import("./status.ts")).status(context, { runDir: runDirOf(flags), json: flags.json === true }));
    });

  const volume = program.command("volume").description("look at volumes, make them larger");
  withJson(volume.command("ls"))
    .description("list the volumes")
    .action(async (flags: JsonFlag) => {
      done(
        await (await import("./volume-ls.ts")).volumeLs(context, {
          runDir: runDirOf(flags),
          json: flags.json === true,
        }),
      );
    });
  withJson(volume.command("inspect <name>"))
    .description("show where a volume's chunks lie and what it really uses")
    .option("--chunks", "one line for each chunk")
    .action(async (name: string, flags: JsonFlag & { chunks?: boolean }) => {
      const options = { runDir: runDirOf(flags), name, json: flags.json === true, chunks: flags.chunks === true };
      done(await (await import("./volume-inspect.ts")).volumeInspect(context, options));
    });

  withRunDir(volume.command("resize <name> <size>"))
    .description("make a volume larger, in use or not; its file system follows")
    .action(async (name: string, size: string, flags: RunDirFlag) => {
      done(await (await import("./volume-changes.ts")).volumeResize(context, { runDir: runDirOf(flags), name, size }));
    });

  withRunDir(volume.command("limit <name>"))
    .description("limit what a volume may do in a second, in use or not; 0 takes a limit away")
    .option("--iops <n>", "reads and writes, 11 or more")
    .option("--bandwidth <n>", "MB")
    .action(async (name: string, flags: RunDirFlag & LimitFlags) => {
      done(await (await import("./volume-changes.ts")).volumeLimit(context, { runDir: runDirOf(flags), name, flags }));
    });

  withRunDir(volume.command("scan <name>"))
    .description("look at all copies of a volume for silent corruption, and put it right")
    .action(async (name: string, flags: RunDirFlag) => {
      done(await (await import("./volume-changes.ts")).volumeScan(context, { runDir: runDirOf(flags), name }));
    });

  const snapshot = program.command("snapshot").description("make snapshots, which are volumes, and go back to them");
  withRunDir(snapshot.command("create <volume=name...>"))
    .description("snapshot volumes, all at one instant, in use or not")
    .action(async (pairs: string[], flags: RunDirFlag) => {
      done(await (await import("./volume-changes.ts")).snapshotCreate(context, { runDir: runDirOf(flags), pairs }));
    });
  withJson(snapshot.command("ls"))
    .description("list the snapshots")
    .action(async (flags: JsonFlag) => {
      const options = { runDir: runDirOf(flags), json: flags.json === true };
      done(await (await import("./volume-changes.ts")).snapshotLs(context, options));
    });
  withRunDir(snapshot.command("restore <volume> <snapshot>"))
    .description("give an unmounted volume the content of a snapshot of it")
    .action(async (name: string, from: string, flags: RunDirFlag) => {
      const options = { runDir: runDirOf(flags), volume: name, snapshot: from };
      done(await (await import("./volume-changes.ts")).snapshotRestore(context, options));
    });

  const sds = program.command("sds").description("look at storage nodes, stop, start, add and remove them");
  withJson(sds.command("ls"))
    .description("list the nodes")
    .action(async (flags: JsonFlag) => {
      done(await (await import("./sds-ls.ts")).sdsLs(context, { runDir: runDirOf(flags), json: flags.json === true }));
    });
  for (const [order, { help }] of Object.entries(SDS_ORDERS) as [SdsOrder, { help: string }][]) {
    withRunDir(sds.command(`${order} <name>`))
      .description(help)
      .option("--wait", "return when that is done and every chunk has two good copies")
      .action(async (name: string, flags: RunDirFlag & { wait?: boolean }) => {
        const options = { runDir: runDirOf(flags), name, order, wait: flags.wait === true };
        done(await (await import("./sds-order.ts")).sdsOrder(context, options));
      });
  }
  withDevice(sds.command("add <name>"))
    .description("add a node with one device")
    .option("--fault-set <name>", "its fault set (default: one of its own)")
    .action(async (name: string, flags: RunDirFlag & DeviceFlags & { faultSet?: string }) => {
      const options = { runDir: runDirOf(flags), name, faultSet: flags.faultSet, device: flags };
      done(await (await import("./device.ts")).addSds(context, options));
    });

  const device = program.command("device").description("add devices to nodes, resize and remove them");
  withDevice(device.command("add <sds> <name>"))
    .description("add a device to a node")
    .action(async (sdsName: string, name: string, flags: RunDirFlag & DeviceFlags) => {
      const options = { runDir: runDirOf(flags), sds: sdsName, name, device: flags };
      done(await (await import("./device.ts")).addDevice(context, options));
    });
  withRunDir(device.command("resize <sds> <name> <size>"))
    .description("give a device another simulated capacity")
    .action(async (sdsName: string, name: string, size: string, flags: RunDirFlag) => {
      const options = { runDir: runDirOf(flags), sds: sdsName, name, size };
      done(await (await import("./device.ts")).resizeDevice(context, options));
    });
  withRunDir(device.command("remove <sds> <name>"))
    .description("move all copies away from a device, then remove it")
    .action(async (sdsName: string, name: string, flags: RunDirFlag) => {
      const options = { runDir: runDirOf(flags), sds: sdsName, name };
      done(await (await import("./device.ts")).removeDevice(context, options));
    });

  const agent = program.command("agent").description("look at the Mesos-style agents, and let them fail");
  withJson(agent.command("ls"))
    .description("list the agents")
    .action(async (flags: JsonFlag) => {
      const options = { runDir: runDirOf(flags), json: flags.json === true };
      done(await (await import("./agent.ts")).agentLs(context, options));
    });
  for (const [order, help] of [
    ["stop", "end an agent's tasks, give their volumes back, and let it leave"],
    ["kill", "lose an agent's host at once, with all that runs there"],
    ["start", "bring an agent back"],
  ] as const) {
    withRunDir(agent.command(`${order} <name>`))
      .description(help)
      .action(async (name: string, flags: RunDirFlag) => {
        done(await (await import("./agent.ts")).agentOrder(context, { runDir: runDirOf(flags), name, order }));
      });
  }

  withJson(program.command("events"))
    .description("show what has happened in the cluster (times are UTC)")
    .option("-f, --follow", "go on showing what happens")
    .action(async (flags: JsonFlag & { follow?: boolean }) => {
      const options = { runDir: runDirOf(flags), json: flags.json === true, follow: flags.follow === true };
      done(await (await import("./events.ts")).events(context, options));
    });

  const fault = program.command("fault").description("put faults on the running system and take them away");
  withRunDir(fault.command("add <type> <target> [key=value...]"))
    .description("put a fault on a node (sds-1), a device (sds-1/dev-1) or an MDM member (mdm-1); prints its name")
    .option("--name <name>", "what to call it (default: its type and a number)")
    .option("--probability <p>", "how often an operation meets it, above 0 to 1 (default: 1)")
    .action(async (type: string, target: string, pairs: string[], flags: RunDirFlag & FaultFlags) => {
      const options = { runDir: runDirOf(flags), type, target, pairs, flags };
      done(await (await import("./fault.ts")).faultAdd(context, options));
    });
  for (const [name, help] of [
    ["ls", "list the faults there are"],
    ["types", "list what faults can be put where"],
  ] as const) {
    withJson(fault.command(name))
      .description(help)
      .action(async (flags: JsonFlag) => {
        const { faultLs, faultTypes } = await import("./fault.ts");
        const show = name === "ls" ? faultLs : faultTypes;
        done(await show(context, { runDir: runDirOf(flags), json: flags.json === true }));
      });
  }
  withRunDir(fault.command("rm <name>"))
    .description("take a fault away; a device that failed by it is well again")
    .action(async (name: string, flags: RunDirFlag) => {
      done(await (await import("./fault.ts")).faultRm(context, { runDir: runDirOf(flags), name }));
    });
  withRunDir(fault.command("reset"))
    .description("take all faults away")
    .action(async (flags: RunDirFlag) => {
      done(await (await import("./fault.ts")).faultReset(context, { runDir: runDirOf(flags) }));
    });

  const scenario = program.command("scenario").description("run scripts of faults and expectations");
  withRunDir(scenario.command("run <file>"))
    .description("carry out the steps of a file (see examples/); fails when one does not come out as expected")
    .action(async (file: string, flags: RunDirFlag) => {
      const runDir = runDirOf(flags);
      const run = (args: readonly string[]) => runCli([...args, "--run-dir", runDir], context);
      done(await (await import("./scenario/scenario-run.ts")).scenarioRun(context, { runDir, file, run }));
    });

  withDirs(program.command("doctor"))
    .description("check this machine, with a fix for each failure")
    .option("--json", "print JSON")
    .action(async (flags: DirFlags & { json?: boolean }) => {
      done(
        await (await import("./doctor.ts")).doctor(context, {
          dirs: resolveDirs(flags, env),
          json: flags.json === true,
        }),
      );
    });

  installCommands(program, context, done);
  return program;
}

const withRunDir = (command: Command): Command =>
  command.option("--run-dir <dir>", "run directory (REXRAY_SIM_RUN_DIR; default /run/rexray-sim)");

const withJson = (command: Command): Command => withRunDir(command).option("--json", "print JSON");

const withDevice = (command: Command): Command =>
  withRunDir(command)
    .option("--path <dir>", "the device's directory (default: one in the state directory)")
    .option("--size <size>", "its simulated capacity (default: as the first device)");

const withDirs = (command: Command): Command =>
  withRunDir(command)
    .option("--state-dir <dir>", "state directory (REXRAY_SIM_STATE_DIR; default /var/lib/rexray-sim)")
    .option("--plugin-dir <dir>", "where plugin sockets appear (REXRAY_SIM_PLUGIN_DIR; default /run/docker/plugins)")
    .option("--config <file>", "configuration (REXRAY_SIM_CONFIG; default config.yml in the state directory)");

/** The name becomes a socket's file name and Docker's driver name. */
function collect(value: string, before: string[] = []): string[] {
  if (!/^[a-zA-Z0-9][\w.-]{0,63}$/.test(value)) {
    throw new InvalidArgumentError("A driver name has 1 to 64 letters, digits, dots, dashes and underscores.");
  }
  return [...before, value];
}
