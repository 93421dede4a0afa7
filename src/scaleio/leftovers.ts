import fs from "node:fs";
import path from "node:path";
import type { ClusterOptions } from "./cluster-options.ts";
import { layersOf } from "./layers.ts";
import type { Id, SystemState } from "./model.ts";
import { usedBytes, volumeIdsOn } from "./sds/volume-files.ts";

/**
 * Ids of layers whose files unfinished creations and removals left, to be removed. Files of a number that the MDM has not recorded
 * yet count only if they are empty: data is never thrown away on the word of an MDM that may have lost something.
 */
export function leftovers(
  { volumes, systemId, lastId, sds }: SystemState,
  { stateDir, log }: Pick<ClusterOptions, "stateDir" | "log">,
): Id[] {
  const devices = sds.flatMap((node) => node.devices);
  const ids = new Set(devices.flatMap((device) => volumeIdsOn(device)));
  const records = path.join(stateDir, "sdc");
  if (fs.existsSync(records)) for (const id of fs.readdirSync(records)) ids.add(id);
  const needed = new Set([...volumes.values()].flatMap((volume) => layersOf(volume).map(({ id }) => id)));
  return [...ids].filter((id) => {
    if (needed.has(id)) return false;
    const empty = devices.every((device) => usedBytes(device, id) === 0);
    const recorded = id.startsWith(systemId.slice(0, 8)) && Number.parseInt(id.slice(8), 16) <= lastId;
    if (!empty && !recorded)
      log(`files of an unknown volume or snapshot ${id} are left alone: the MDM does not know it, but they hold data`);
    return empty || recorded;
  });
}
