import type { RemainingVolume } from "../admin/report.ts";

/** What a stop left mounted, who holds it and what to do; "" when nothing was left. */
export function remainingText(remaining: readonly RemainingVolume[]): string {
  if (remaining.length === 0) return "";
  const lines = remaining.map(
    ({ name, heldBy }) =>
      `volume ${name} stays mounted and served: held by ${heldBy.join(", ") || "another mount namespace"}\n`,
  );
  return `${lines.join("")}stop what holds them, then run \`rexray-sim down\` again; or \`rexray-sim up\` to go on\n`;
}
