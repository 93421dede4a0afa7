import { setTimeout as pause } from "node:timers/promises";
import { AdminClient } from "../admin/client.ts";
import { SimError } from "../lib/errors.ts";
import { parseSize } from "../lib/size.ts";
import { type Asked, tell } from "./answer.ts";
import { type Context, EXIT } from "./context.ts";
import { pairsOf } from "./pairs.ts";
import { scanText } from "./progress.ts";
import { bytes } from "./text.ts";

/** `rexray-sim volume create NAME [KEY=VALUE…]`, with the options of `docker volume create`. */
export async function volumeCreate(
  context: Context,
  options: Asked & { name: string; pairs: readonly string[] },
): Promise<number> {
  const { name, pairs } = options;
  const client = new AdminClient(options.runDir);
  const { created } = await client.createVolume(name, pairsOf(pairs, "for instance size=16"));
  const volume = await client.volume(name, { chunks: false });
  const was = created ? "is made" : "was there, and is as it was";
  tell(context, options, { created, ...volume }, `${name} ${was}: ${bytes(volume.sizeBytes)}, ${volume.fsType}\n`);
  return EXIT.ok;
}

/** `rexray-sim volume rm NAME…`: one after the other; stops at the first that cannot be removed. */
export async function volumeRm(context: Context, options: Asked & { names: readonly string[] }): Promise<number> {
  const client = new AdminClient(options.runDir);
  for (const name of options.names) {
    await client.removeVolume(name);
    if (!options.json) context.err(`${name} is removed\n`);
  }
  tell(context, options, { removed: options.names }, "");
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
  options: Asked & { name: string; flags: LimitFlags },
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
  tell(context, options, volume, `${options.name} has ${limitsText(volume)}\n`);
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

/** How often it is said how far a scan is (ms). */
const SAY_EVERY = 1000;

/** `rexray-sim volume scan NAME`: says meanwhile how far it is. */
export async function volumeScan(context: Context, options: Asked & { name: string }): Promise<number> {
  const client = new AdminClient(options.runDir);
  const ended = new AbortController();
  const scan = client.scan(options.name).finally(() => ended.abort());
  const told = tellProgress(context, client, options.name, ended.signal);
  const { chunks, fixed } = await scan;
  await told;
  const found = fixed === 0 ? "nothing found" : `${fixed} blocks put right`;
  tell(
    context,
    options,
    { name: options.name, chunks, fixed },
    `${options.name}: ${chunks} chunks looked at, ${found}\n`,
  );
  return EXIT.ok;
}

async function tellProgress(context: Context, client: AdminClient, name: string, ended: AbortSignal): Promise<void> {
  for (;;) {
    await pause(SAY_EVERY, undefined, { signal: ended }).catch(() => undefined);
    if (ended.aborted) return;
    // What is wrong, the scan says.
    const scans = await client.status().then(
      (status) => status.scans,
      () => [],
    );
    for (const scan of scans) if (scan.volume === name) context.err(`${name}: ${scanText(scan)}\n`);
  }
}

/** `rexray-sim volume resize NAME SIZE`. */
export async function volumeResize(context: Context, options: Asked & { name: string; size: string }): Promise<number> {
  const client = new AdminClient(options.runDir);
  await client.resize(options.name, parseSize(options.size));
  const volume = await client.volume(options.name, { chunks: false });
  tell(context, options, volume, `${options.name} has ${bytes(volume.sizeBytes)}\n`);
  return EXIT.ok;
}
