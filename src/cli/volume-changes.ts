import { AdminClient } from "../admin/client.ts";
import { SimError } from "../lib/errors.ts";
import { parseSize } from "../lib/size.ts";
import { type Context, EXIT } from "./context.ts";
import { noteIfOld } from "./status.ts";
import { bytes, table } from "./text.ts";

/** `rexray-sim snapshot create VOLUME=NAME…`: all at one instant. */
export async function snapshotCreate(context: Context, options: { runDir: string; pairs: string[] }): Promise<number> {
  const snapshots = options.pairs.map((pair) => {
    const match = /^([^=]+)=([^=]+)$/.exec(pair);
    if (match === null)
      throw new SimError("invalid_argument", `"${pair}" does not say what to call the snapshot: write VOLUME=NAME`);
    return { volume: match[1] as string, name: match[2] as string };
  });
  await new AdminClient(options.runDir).snapshot(snapshots);
  for (const { volume, name } of snapshots) context.err(`${name} is a snapshot of ${volume}; it is a volume itself\n`);
  return EXIT.ok;
}

/** `rexray-sim snapshot ls`. */
export async function snapshotLs(context: Context, options: { runDir: string; json: boolean }): Promise<number> {
  const report = await new AdminClient(options.runDir).status();
  noteIfOld(context, report);
  const snapshots = report.volumes.filter(({ snapshotOf }) => snapshotOf !== null);
  const rows = snapshots.map(({ name, snapshotOf, sizeBytes }) => [name, snapshotOf || "(removed)", bytes(sizeBytes)]);
  const text = rows.length === 0 ? "no snapshots\n" : table(["SNAPSHOT", "OF", "SIZE"], rows);
  context.out(options.json ? `${JSON.stringify(snapshots, undefined, 2)}\n` : text);
  return EXIT.ok;
}

/** `rexray-sim snapshot restore VOLUME SNAPSHOT`. */
export async function snapshotRestore(
  context: Context,
  options: { runDir: string; volume: string; snapshot: string },
): Promise<number> {
  await new AdminClient(options.runDir).overwrite(options.volume, options.snapshot);
  context.err(`${options.volume} has the content of ${options.snapshot}\n`);
  return EXIT.ok;
}

/** What `volume limit` may say. */
export interface LimitFlags {
  readonly iops?: string;
  readonly bandwidth?: string;
}

/** `rexray-sim volume limit NAME`. */
export async function volumeLimit(
  context: Context,
  options: { runDir: string; name: string; flags: LimitFlags },
): Promise<number> {
  const { iops, bandwidth } = options.flags;
  if (iops === undefined && bandwidth === undefined)
    throw new SimError("invalid_argument", "no limit is named: give --iops, --bandwidth or both; 0 takes one away");
  const client = new AdminClient(options.runDir);
  await client.limit(options.name, {
    iops: iops === undefined ? undefined : wholeNumber("--iops", iops),
    bytesPerSecond: bandwidth === undefined ? undefined : wholeNumber("--bandwidth", bandwidth) * 1024 ** 2,
  });
  const volume = await client.volume(options.name, { chunks: false });
  context.err(`${options.name} has ${limitsText(volume)}\n`);
  return EXIT.ok;
}

function wholeNumber(flag: string, text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new SimError(
    "invalid_argument",
    `${flag} "${text}" is not a whole number: for instance ${flag} 100, or 0 for none`,
  );
}

/** A volume's limits for a person. */
export function limitsText({ iops, bytesPerSecond }: { iops: number; bytesPerSecond: number }): string {
  const parts = [
    ...(iops > 0 ? [`at most ${iops} IOPS`] : []),
    ...(bytesPerSecond > 0 ? [`at most ${bytes(bytesPerSecond)}/s`] : []),
  ];
  return parts.join(", ") || "no limits";
}

/** `rexray-sim volume scan NAME`. */
export async function volumeScan(context: Context, options: { runDir: string; name: string }): Promise<number> {
  const { chunks, fixed } = await new AdminClient(options.runDir).scan(options.name);
  context.err(
    `${options.name}: ${chunks} chunks looked at, ${fixed === 0 ? "nothing found" : `${fixed} blocks put right`}\n`,
  );
  return EXIT.ok;
}

/** `rexray-sim volume resize NAME SIZE`. */
export async function volumeResize(
  context: Context,
  options: { runDir: string; name: string; size: string },
): Promise<number> {
  const client = new AdminClient(options.runDir);
  await client.resize(options.name, parseSize(options.size));
  const { sizeBytes } = await client.volume(options.name, { chunks: false });
  context.err(`${options.name} has ${bytes(sizeBytes)}\n`);
  return EXIT.ok;
}
