import type { LimitFlags } from "../volume-changes.ts";
import { type AskedFlags, type Commands, withAsked } from "./flags.ts";

/** Volumes and snapshots. */
export function volumeCommands({ program, context, done, asked }: Commands): void {
  const changes = () => import("../volume-changes.ts");
  const volume = program.command("volume").description("make, look at, change and remove volumes");
  withAsked(volume.command("create <name> [key=value...]"))
    .description("make a volume; options are those of docker volume create (size=16, fstype=xfs, …)")
    .action(async (name: string, pairs: string[], flags: AskedFlags) => {
      done(await (await changes()).volumeCreate(context, { ...asked(flags), name, pairs }));
    });
  withAsked(volume.command("ls"))
    .description("list the volumes")
    .action(async (flags: AskedFlags) => {
      done(await (await import("../volume-ls.ts")).volumeLs(context, asked(flags)));
    });
  withAsked(volume.command("inspect <volume>"))
    .description("show where a volume's chunks lie and what it really uses")
    .option("--chunks", "one line for each chunk")
    .action(async (name: string, flags: AskedFlags & { chunks?: boolean }) => {
      const options = { ...asked(flags), name, chunks: flags.chunks === true };
      done(await (await import("../volume-inspect.ts")).volumeInspect(context, options));
    });
  withAsked(volume.command("resize <volume> <size>"))
    .description("make a volume larger, in use or not; its file system follows")
    .action(async (name: string, size: string, flags: AskedFlags) => {
      done(await (await changes()).volumeResize(context, { ...asked(flags), name, size }));
    });
  withAsked(volume.command("limit <volume>"))
    .description("limit what a volume may do in a second, in use or not; 0 takes a limit away")
    .option("--iops <n>", "reads and writes, 11 or more")
    .option("--bandwidth <n>", "MB")
    .action(async (name: string, flags: AskedFlags & LimitFlags) => {
      done(await (await changes()).volumeLimit(context, { ...asked(flags), name, flags }));
    });
  withAsked(volume.command("scan <volume>"))
    .description("look at all copies of a volume for silent corruption, and put it right")
    .action(async (name: string, flags: AskedFlags) => {
      done(await (await changes()).volumeScan(context, { ...asked(flags), name }));
    });
  withAsked(volume.command("rm <volume...>"))
    .description("remove volumes that nobody uses, with their data")
    .action(async (names: string[], flags: AskedFlags) => {
      done(await (await changes()).volumeRm(context, { ...asked(flags), names }));
    });

  const snapshots = () => import("../snapshots.ts");
  const snapshot = program.command("snapshot").description("make snapshots, which are volumes, and go back to them");
  withAsked(snapshot.command("create <volume=name...>"))
    .description("snapshot volumes, all at one instant, in use or not")
    .action(async (pairs: string[], flags: AskedFlags) => {
      done(await (await snapshots()).snapshotCreate(context, { ...asked(flags), pairs }));
    });
  withAsked(snapshot.command("ls"))
    .description("list the snapshots")
    .action(async (flags: AskedFlags) => done(await (await snapshots()).snapshotLs(context, asked(flags))));
  withAsked(snapshot.command("restore <volume> <snapshot>"))
    .description("give an unmounted volume the content of a snapshot of it")
    .action(async (name: string, from: string, flags: AskedFlags) => {
      done(await (await snapshots()).snapshotRestore(context, { ...asked(flags), volume: name, snapshot: from }));
    });
  withAsked(snapshot.command("rm <snapshot...>"))
    .description("remove snapshots that nobody uses; what they are snapshots of stays")
    .action(async (names: string[], flags: AskedFlags) => {
      done(await (await snapshots()).snapshotRm(context, { ...asked(flags), names }));
    });
}
