import type { AgentView } from "../../mesos/master/agents.ts";
import type { AppDefinition } from "../definition/app.ts";
import type { Marathon } from "../marathon.ts";
import type { Deployment } from "../scheduler/deployment.ts";
import { type Instance, ipAddressesOf, isHealthy, isRunning, taskIdOf, taskOf } from "../scheduler/instance.ts";
import { REASONS } from "../scheduler/offers.ts";
import { type AppRecord, current, definitionOf, type Version } from "../scheduler/store.ts";
import { taskStats } from "./task-stats.ts";

/** JSON of the API, with exactly the keys that Marathon has: strict clients refuse others (spec/marathon.md 1, 6). */
type Json = Record<string, unknown>;

/** A definition with its version. Empty optional collections are left out. */
export function renderApp(version: Version): Json {
  const { app } = version;
  const json: Json = { ...app, ...ports(app) };
  for (const key of ["secrets", "readinessChecks"] as const) if (Object.keys(app[key]).length === 0) delete json[key];
  if (app.container !== undefined) json["container"] = renderContainer(app.container);
  const { lastScalingAt, lastConfigChangeAt } = version;
  return { ...json, version: version.version, versionInfo: { lastScalingAt, lastConfigChangeAt } };
}

const ports = ({ portDefinitions = [] }: AppDefinition): Json => ({ ports: portDefinitions.map(({ port }) => port) });

function renderContainer({ volumes, ...rest }: NonNullable<AppDefinition["container"]>): Json {
  return {
    ...rest,
    volumes: volumes.map(({ external, ...volume }) => {
      if (external === undefined) return volume;
      const { options, ...others } = external;
      return { ...volume, external: { ...others, ...(Object.keys(options).length === 0 ? {} : { options }) } };
    }),
  };
}

export function counts(record: AppRecord): Json {
  const { instances } = record;
  const count = (is: (instance: Instance) => boolean) => instances.filter(is).length;
  return {
    tasksStaged: count(({ state }) => state === "TASK_STAGING"),
    tasksRunning: count(({ state }) => state === "TASK_RUNNING"),
    tasksHealthy: count((instance) => {
      const app = definitionOf(record, instance);
      return app.healthChecks.length > 0 && isRunning(instance) && isHealthy(instance, app);
    }),
    tasksUnhealthy: count(({ health }) => Object.values(health ?? {}).some(({ alive }) => !alive)),
  };
}

/** With what is going on. */
export function renderRunningApp(marathon: Marathon, record: AppRecord, embed: ReadonlySet<string>): Json {
  const version = current(record);
  const { id } = version.app;
  return {
    ...renderApp(version),
    ...counts(record),
    deployments: marathon.deployments.of(id).map((deployment) => ({ id: deployment.id })),
    ...(embed.has("tasks") ? { tasks: renderTasks(marathon, id, record) } : {}),
    ...(embed.has("readiness") ? { readinessCheckResults: marathon.scheduler.readinessOf(id) } : {}),
    ...(embed.has("taskStats") ? { taskStats: taskStats(record) } : {}),
    ...(embed.has("lastTaskFailure") && record.lastTaskFailure !== undefined
      ? { lastTaskFailure: record.lastTaskFailure }
      : {}),
  };
}

/** Instances that nobody has offered to run are no tasks yet, but may have been. */
export function renderTasks(marathon: Marathon, appId: string, record: AppRecord): Json[] {
  const agents = marathon.agents.list();
  return record.instances
    .filter((instance) => taskOf(instance) !== undefined)
    .map((instance) => renderTask(appId, record, instance, agents));
}

/** Tasks as text, a line for each service port: `app<TAB>port<TAB>host:port<TAB>host:port`. */
export function renderEndpoints(records: readonly AppRecord[]): string {
  const lines = records.flatMap((record) => {
    const { app } = current(record);
    const name = app.id.slice(1).replaceAll("/", "_");
    const running = record.instances.filter(isRunning);
    const ports = app.portDefinitions?.map(({ port }) => port) ?? [];
    if (ports.length === 0) return [[name, " ", ...running.map(({ agent }) => agent ?? "")]];
    return ports.map((port, index) => [name, port, ...running.map((one) => `${one.agent}:${one.ports[index] ?? 0}`)]);
  });
  return lines.map((line) => `${line.join("\t")}\n`).join("");
}

export function renderTask(appId: string, record: AppRecord, instance: Instance, agents: readonly AgentView[]): Json {
  const { app } = current(record);
  const task = taskOf(instance) ?? instance;
  const { stagedAt, startedAt, health } = task;
  return {
    appId,
    id: taskIdOf(task),
    host: task.agent ?? "",
    slaveId: agents.find(({ name }) => name === task.agent)?.id ?? "",
    state: task.killing ? "TASK_KILLING" : task.state,
    ports: stagedAt === undefined ? [] : task.ports,
    servicePorts: (app.portDefinitions ?? []).map(({ port }) => port),
    ipAddresses: ipAddressesOf(task),
    // One that no agent has heard of yet, or that has failed, has neither times nor ports (spec/marathon.md 6.3).
    ...(stagedAt === undefined ? {} : { stagedAt, version: task.version }),
    ...(startedAt === undefined ? {} : { startedAt }),
    localVolumes: [],
    ...(health === undefined
      ? {}
      : { healthCheckResults: Object.values(health).map((result) => ({ ...result, instanceId: instance.id })) }),
    role: app.role,
  };
}

export function renderDeployment(marathon: Marathon, { id, version, steps, step, before }: Deployment): Json {
  return {
    id,
    version,
    affectedApps: Object.keys(before),
    affectedPods: [],
    steps,
    currentActions: (steps[step]?.actions ?? []).map((action) => ({
      ...action,
      readinessCheckResults: marathon.scheduler.readinessOf(action.app),
    })),
    currentStep: Math.min(step + 1, steps.length),
    totalSteps: steps.length,
  };
}

/** What waits, and why. Without its role, which newer ones have too: Debian's python3-marathon refuses an item that has it. */
export function renderQueue(marathon: Marathon, { offers }: { offers: boolean }): Json[] {
  return marathon.apps().flatMap((record) => {
    const version = current(record);
    const waiting = marathon.scheduler.waiting(version.app.id);
    const count = record.instances.filter(({ state }) => state === "Scheduled").length;
    if (waiting === undefined || count === 0) return [];
    const left = Math.max(0, Math.ceil((record.backoff.until - Date.now()) / 1000));
    const summary = REASONS.map((reason) => ({
      reason,
      declined: waiting.reasons.get(reason) ?? 0,
      processed: [...waiting.reasons.values()].reduce((sum, one) => sum + one, 0),
    }));
    return [
      {
        count,
        app: renderApp(version),
        delay: { timeLeftSeconds: left, overdue: left === 0 },
        since: waiting.since,
        processedOffersSummary: {
          processedOffersCount: waiting.processed,
          unusedOffersCount: waiting.unused,
          rejectSummaryLastOffers: summary,
          rejectSummaryLaunchAttempt: summary,
          ...(waiting.lastUnused[0] === undefined ? {} : { lastUnusedOfferAt: waiting.lastUnused[0].at }),
        },
        ...(offers
          ? {
              lastUnusedOffers: waiting.lastUnused.map(({ offer, reason, at }) => ({
                offer: {
                  id: `${offer.agent.id}-O${waiting.processed}`,
                  hostname: offer.agent.name,
                  agentId: offer.agent.id,
                },
                reason: [reason],
                timestamp: at,
              })),
            }
          : {}),
      },
    ];
  });
}
