import { AdminClient } from "../admin/client.ts";
import type { StatusReport } from "../admin/report.ts";
import { localSecond } from "../lib/times.ts";
import { type Asked, show } from "./answer.ts";
import { type Context, EXIT } from "./context.ts";
import { progressLines } from "./progress.ts";
import { bytes, facts, stateWord, table } from "./text.ts";

/** `rexray-sim status`: nodes, pool, volumes, mounts and health on one screen. */
export async function status(context: Context, options: Asked): Promise<number> {
  const report = await new AdminClient(options.runDir).status();
  show(context, options, report, statusScreen(report, context.color));
  return EXIT.ok;
}

/** Whoever sees a part of the report only is told when it may be old. */
export function noteIfOld(context: Pick<Context, "err">, { isCurrent, reasons }: StatusReport): void {
  if (!isCurrent) context.err(`${reasons[0]}\n`);
}

/** The report as text. */
export function statusScreen(report: StatusReport, color: boolean): string {
  const { daemon } = report;
  const health = facts([
    ["health", stateWord(report.health, color), ...report.reasons],
    ["mdm", report.mdm.map((member) => `${member.name} ${stateWord(member.state, color)}`).join(", ")],
    ["plugins", report.plugins.join(" ")],
    ["apis", ...report.apis],
    ["daemon", `pid ${daemon.pid}, version ${daemon.version}, since ${localSecond(daemon.startedAt)}`],
    ["state", daemon.stateDir],
  ]);
  const work = progressLines(report);
  const alerts = alertTable(report);
  return [
    health + (work.length === 0 ? "" : facts([["work", ...work]])),
    ...alerts,
    nodeTable(report, color),
    poolTable(report, color),
    capacityTable(report),
    volumeTable(report, color),
  ].join("\n");
}

/** Nothing when there are none. Those of low severity are advice, and for programs. */
function alertTable(report: Pick<StatusReport, "alerts">): string[] {
  const alerts = report.alerts.filter(({ severity }) => severity !== "low");
  if (alerts.length === 0) return [];
  return [
    table(
      ["ALERT", "SEVERITY", ""],
      alerts.map(({ type, severity, text }) => [type, severity, text]),
    ),
  ];
}

export function nodeTable(report: Pick<StatusReport, "sds">, color: boolean): string {
  return table(
    ["NODE", "STATE", "FAULT SET", "USED", "CAPACITY", "REASON"],
    report.sds.map((sds) => [
      sds.name,
      stateWord(sds.state, color),
      sds.faultSet,
      bytes(sds.usedBytes),
      bytes(sds.capacityBytes),
      sds.reason,
    ]),
  );
}

function poolTable(report: StatusReport, color: boolean): string {
  return table(
    ["POOL", "HEALTH", "DOMAIN", "USED", "CAPACITY", "SPARE", "PROVISIONED", "FREE FOR THICK", "FOR THIN"],
    report.pools.map((pool) => [
      pool.name,
      stateWord(pool.health, color),
      pool.protectionDomain,
      bytes(pool.usedBytes),
      bytes(pool.capacityBytes),
      bytes(pool.spareBytes),
      bytes(pool.provisionedBytes),
      bytes(pool.availableBytes),
      bytes(pool.thinAvailableBytes),
    ]),
  );
}

/** Raw bytes, both copies (spec/scaleio.md 1.7); what nothing is in is left out. */
function capacityTable(report: Pick<StatusReport, "pools">): string {
  const states = [
    ["PROTECTED", "protectedBytes"],
    ["IN MAINTENANCE", "inMaintenanceBytes"],
    ["SEMI-PROTECTED", "semiProtectedBytes"],
    ["DEGRADED HEALTHY", "degradedHealthyBytes"],
    ["DEGRADED FAILED", "degradedFailedBytes"],
    ["FAILED", "failedBytes"],
    ["UNREACHABLE UNUSED", "unreachableUnusedBytes"],
    ["UNUSED", "unusedBytes"],
  ] as const;
  const shown = states.filter(
    ([, state]) => /^(protected|unused)/.test(state) || report.pools.some((pool) => pool[state] > 0),
  );
  return table(
    ["CAPACITY", ...shown.map(([title]) => title)],
    report.pools.map((pool) => [pool.name, ...shown.map(([, state]) => bytes(pool[state]))]),
  );
}

export function volumeTable(report: Pick<StatusReport, "volumes">, color: boolean): string {
  if (report.volumes.length === 0) return "no volumes\n";
  return table(
    ["VOLUME", "HEALTH", "SIZE", "DEVICE", "MOUNTED AT"],
    report.volumes.map((volume) => [
      volume.name,
      stateWord(volume.health, color),
      bytes(volume.sizeBytes),
      volume.device ?? "-",
      volume.mountpoint || "-",
    ]),
  );
}
