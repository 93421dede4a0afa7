import { AdminClient } from "../admin/client.ts";
import type { VolumeInspection } from "../admin/report.ts";
import { localSecond } from "../lib/times.ts";
import { type Asked, show } from "./answer.ts";
import { type Context, EXIT } from "./context.ts";
import { bytes, count, facts, stateWord, table } from "./text.ts";
import { limitsText } from "./volume-changes.ts";

/** `rexray-sim volume inspect NAME`: which nodes hold which chunks, and how much is really used. */
export async function volumeInspect(
  context: Context,
  options: Asked & { name: string; chunks: boolean },
): Promise<number> {
  const volume = await new AdminClient(options.runDir).volume(options.name, { chunks: options.chunks });
  show(context, options, volume, inspection(volume, context.color));
  return EXIT.ok;
}

function inspection(volume: VolumeInspection, color: boolean): string {
  const chunks = Math.ceil(volume.sizeBytes / volume.chunkBytes);
  const health = [
    stateWord(volume.health, color),
    ...(volume.degradedChunks > 0 ? [`${count(volume.degradedChunks, "chunk")} with one good copy`] : []),
    ...(volume.failedChunks > 0 ? [`${count(volume.failedChunks, "chunk")} without a good copy`] : []),
  ];
  const text = facts([
    ["volume", `${volume.name} (${volume.id}), made ${localSecond(volume.createdAt)}`],
    ["health", health.join(", ")],
    [
      "size",
      `${bytes(volume.sizeBytes)} in ${count(chunks, "chunk")} of ${bytes(volume.chunkBytes)}, ${volume.fsType}`,
    ],
    ["used", `${bytes(volume.usedBytes)} on the devices, both copies`],
    ["pool", `${volume.pool}, map version ${volume.mapVersion}`],
    ["limits", limitsText(volume)],
    ["mapped to", volume.mappedTo ?? "-"],
    ["device", volume.device ?? "-"],
    ["mounted at", volume.mountpoint || "-"],
    [
      "processes",
      volume.enginePid === null ? "-" : `engine ${volume.enginePid}, supervisor ${volume.supervisorPid ?? "-"}`,
    ],
  ]);
  const devices = table(
    ["NODE", "DEVICE", "PRIMARY", "SECONDARY", "STALE", "USED", "FILE"],
    volume.devices.map((device) => [
      device.sds,
      device.device,
      String(device.primaryChunks),
      String(device.secondaryChunks),
      String(device.staleChunks),
      bytes(device.usedBytes),
      device.file,
    ]),
  );
  if (volume.chunks === undefined) return `${text}\n${devices}`;
  const rows = volume.chunks.map((chunk) => [
    String(chunk.chunk),
    chunk.primary,
    chunk.secondary,
    chunk.stale.join(" "),
  ]);
  return `${text}\n${devices}\n${table(["CHUNK", "PRIMARY", "SECONDARY", "STALE"], rows)}`;
}
