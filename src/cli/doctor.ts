import type { Dirs } from "../lib/dirs.ts";
import { show } from "./answer.ts";
import { type Context, EXIT } from "./context.ts";
import { dockerChecks } from "./doctor-docker.ts";
import { instanceChecks } from "./doctor-instance.ts";
import { machineChecks } from "./doctor-machine.ts";
import { memoryChecks } from "./doctor-memory.ts";
import type { Finding } from "./finding.ts";

/** `rexray-sim doctor`: what this machine lacks, each with its fix. Fails when a check fails. Needs no daemon. */
export async function doctor(context: Context, options: { dirs: Dirs; json: boolean }): Promise<number> {
  const { dirs } = options;
  const findings = [
    ...(await machineChecks(dirs.stateDir, context.env)),
    ...(await memoryChecks(dirs)),
    ...(await instanceChecks(dirs)),
    ...(await dockerChecks(dirs)),
  ];
  const healthy = findings.every((finding) => finding.state !== "failed");
  const text = findings.map((finding) => render(finding, context.color)).join("");
  show(context, options, { ok: healthy, checks: findings }, text);
  return healthy ? EXIT.ok : EXIT.failed;
}

const COLORS = { ok: 32, warning: 33, failed: 31 };

function render({ name, state, detail, fix }: Finding, color: boolean): string {
  const word = state.padEnd(7);
  const mark = color ? `\u001b[${COLORS[state]}m${word}\u001b[0m` : word;
  const line = `${mark}  ${name.padEnd(12)}  ${detail}\n`;
  return fix === "" ? line : `${line}${" ".repeat(23)}fix: ${fix}\n`;
}
