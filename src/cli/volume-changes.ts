import { AdminClient } from "../admin/client.ts";
import { SimError } from "../lib/errors.ts";
import { parseSize } from "../lib/size.ts";
import { type Context, EXIT } from "./context.ts";
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
  const { volumes } = await new AdminClient(options.runDir).status();
  const snapshots = volumes.filter(({ snapshotOf }) => snapshotOf !== null);
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
