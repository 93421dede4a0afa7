import { AdminClient } from "../admin/client.ts";
import { SimError } from "../lib/errors.ts";
import { type Asked, show, tell } from "./answer.ts";
import { type Context, EXIT } from "./context.ts";
import { bytes, table } from "./text.ts";
import { volumeRm } from "./volume-changes.ts";

const snapshotsOf = async (client: AdminClient) =>
  (await client.status()).volumes.filter(({ snapshotOf }) => snapshotOf !== null);

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
  const names = wanted.map(({ name }) => name);
  const made = (await snapshotsOf(client)).filter(({ name }) => names.includes(name));
  const text = wanted.map(({ volume, name }) => `${name} is a snapshot of ${volume}; it is a volume itself\n`);
  tell(context, options, made, text.join(""));
  return EXIT.ok;
}

/** `rexray-sim snapshot ls`. */
export async function snapshotLs(context: Context, options: Asked): Promise<number> {
  const snapshots = await snapshotsOf(new AdminClient(options.runDir));
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
  const snapshots = (await snapshotsOf(new AdminClient(options.runDir))).map(({ name }) => name);
  const other = options.names.find((name) => !snapshots.includes(name));
  if (other !== undefined)
    throw new SimError("not_found", `no snapshot is called "${other}": \`rexray-sim snapshot ls\` lists them`);
  return volumeRm(context, options);
}
