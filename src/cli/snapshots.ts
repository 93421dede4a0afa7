import { AdminClient } from "../admin/client.ts";
import { SimError } from "../lib/errors.ts";
import { type Asked, show, tell } from "./answer.ts";
import { type Context, EXIT } from "./context.ts";
import { bytes, table } from "./text.ts";
import { volumeRm } from "./volume-changes.ts";

/** `rexray-sim snapshot create VOLUME=NAME…`: all at one instant. */
export async function snapshotCreate(context: Context, options: Asked & { pairs: string[] }): Promise<number> {
  const wanted = options.pairs.map((pair) => {
    const match = /^([^=]+)=([^=]+)$/.exec(pair);
    if (match === null)
      throw new SimError("invalid_argument", `"${pair}" does not say what to call the snapshot: write VOLUME=NAME`);
    return { volume: match[1] as string, name: match[2] as string };
  });
  const client = new AdminClient(options.runDir);
  await client.snapshot(wanted);
  const made = await Promise.all(wanted.map(({ name }) => client.volume(name, { chunks: false })));
  const text = wanted.map(({ volume, name }) => `${name} is a snapshot of ${volume}; it is a volume itself\n`);
  tell(context, options, made, text.join(""));
  return EXIT.ok;
}

/** `rexray-sim snapshot ls`. */
export async function snapshotLs(context: Context, options: Asked): Promise<number> {
  const { volumes } = await new AdminClient(options.runDir).status();
  const snapshots = volumes.filter(({ snapshotOf }) => snapshotOf !== null);
  const rows = snapshots.map(({ name, snapshotOf, sizeBytes }) => [name, snapshotOf || "(removed)", bytes(sizeBytes)]);
  const text = rows.length === 0 ? "no snapshots\n" : table(["SNAPSHOT", "OF", "SIZE"], rows);
  show(context, options, snapshots, text);
  return EXIT.ok;
}

/** `rexray-sim snapshot restore VOLUME SNAPSHOT`. */
export async function snapshotRestore(
  context: Context,
  options: Asked & { volume: string; snapshot: string },
): Promise<number> {
  const { volume, snapshot } = options;
  const client = new AdminClient(options.runDir);
  await client.overwrite(volume, snapshot);
  tell(context, options, await client.volume(volume, { chunks: false }), `${volume} has the content of ${snapshot}\n`);
  return EXIT.ok;
}

/** `rexray-sim snapshot rm NAME…`. A volume that is no snapshot is not taken for one. */
export async function snapshotRm(context: Context, options: Asked & { names: readonly string[] }): Promise<number> {
  const client = new AdminClient(options.runDir);
  for (const name of options.names) {
    const volume = await client.volume(name, { chunks: false }).catch((error) => {
      if (error instanceof SimError && error.code === "not_found") return undefined;
      throw error;
    });
    if (volume === undefined || volume.snapshotOf === null)
      throw new SimError("not_found", `no snapshot is called "${name}": \`rexray-sim snapshot ls\` lists them`);
  }
  return volumeRm(context, options);
}
