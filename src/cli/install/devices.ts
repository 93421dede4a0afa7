import fs from "node:fs";
import path from "node:path";

/**
 * Directories of devices that lie outside the state directory and hold data: those that the MDM's files mention, as far as they
 * still have a device's label. Made for a last message: what cannot be read is left out.
 */
export function devicesElsewhere(stateDir: string): string[] {
  const members = ["1", "2", "3"].map((name) => path.join(stateDir, "mdm", name));
  const text = members.flatMap((dir) => [contentOf(path.join(dir, "snapshot.json")), contentOf(path.join(dir, "log"))]);
  // A snapshot is JSON in JSON, so that its quotes have backslashes.
  const places = text.flatMap((one) =>
    [...one.matchAll(/"path\\?":\\?"(\/[^"\\]+)/g)].map(([, place]) => place as string),
  );
  return [...new Set(places)].filter(
    (place) => !place.startsWith(`${stateDir}/`) && fs.existsSync(path.join(place, "device.json")),
  );
}

function contentOf(file: string): string {
  try {
    return fs.readFileSync(file, "utf8");
  } catch {
    return "";
  }
}
