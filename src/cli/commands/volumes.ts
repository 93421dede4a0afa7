import type { LimitFlags } from "../volume-changes.ts";
import { type Commands, type JsonFlag, type RunDirFlag, withJson, withRunDir } from "./flags.ts";

/** Volumes and snapshots. */
export function volumeCommands({ program, context, done, runDirOf }: Commands): void {
  const volume = program.command("volume").description("look at volumes, make them larger");
  withJson(volume.command("ls"))
    .description("list the volumes")
    .action(async (flags: JsonFlag) => {
      done(
        await (await import("../volume-ls.ts")).volumeLs(context, {
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
      done(await (await import("../volume-inspect.ts")).volumeInspect(context, options));
    });

  withRunDir(volume.command("resize <name> <size>"))
    .description("make a volume larger, in use or not; its file system follows")
    .action(async (name: string, size: string, flags: RunDirFlag) => {
      done(await (await import("../volume-changes.ts")).volumeResize(context, { runDir: runDirOf(flags), name, size }));
    });

  withRunDir(volume.command("limit <name>"))
    .description("limit what a volume may do in a second, in use or not; 0 takes a limit away")
    .option("--iops <n>", "reads and writes, 11 or more")
    .option("--bandwidth <n>", "MB")
    .action(async (name: string, flags: RunDirFlag & LimitFlags) => {
      done(await (await import("../volume-changes.ts")).volumeLimit(context, { runDir: runDirOf(flags), name, flags }));
    });

  withRunDir(volume.command("scan <name>"))
    .description("look at all copies of a volume for silent corruption, and put it right")
    .action(async (name: string, flags: RunDirFlag) => {
      done(await (await import("../volume-changes.ts")).volumeScan(context, { runDir: runDirOf(flags), name }));
    });

  const snapshot = program.command("snapshot").description("make snapshots, which are volumes, and go back to them");
  withRunDir(snapshot.command("create <volume=name...>"))
    .description("snapshot volumes, all at one instant, in use or not")
    .action(async (pairs: string[], flags: RunDirFlag) => {
      done(await (await import("../volume-changes.ts")).snapshotCreate(context, { runDir: runDirOf(flags), pairs }));
    });
  withJson(snapshot.command("ls"))
    .description("list the snapshots")
    .action(async (flags: JsonFlag) => {
      const options = { runDir: runDirOf(flags), json: flags.json === true };
      done(await (await import("../volume-changes.ts")).snapshotLs(context, options));
    });
  withRunDir(snapshot.command("restore <volume> <snapshot>"))
    .description("give an unmounted volume the content of a snapshot of it")
    .action(async (name: string, from: string, flags: RunDirFlag) => {
      const options = { runDir: runDirOf(flags), volume: name, snapshot: from };
      done(await (await import("../volume-changes.ts")).snapshotRestore(context, options));
    });
}
