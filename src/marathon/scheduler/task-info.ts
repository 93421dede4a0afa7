import type { DockerInfo, MesosVolume, TaskInfo } from "../../mesos/task.ts";
import type { AppDefinition, Volume } from "../definition/app.ts";
import { isMesosCheck } from "./health.ts";
import { type Instance, taskIdOf } from "./instance.ts";
import { portsOf, portVariables, variable } from "./ports.ts";

/** Of Mesos' own executor, and of `docker stop`. */
const GRACE_SECONDS = { MESOS: 3, DOCKER: 5 };
const LONGEST_LABEL = 512;

/** What the agent is asked to run for an instance (spec/marathon.md 3.7, 7). */
export function taskInfo(app: AppDefinition, version: string, instance: Instance, frameworkId: string): TaskInfo {
  return {
    taskId: taskIdOf(instance),
    name: app.id.slice(1).split("/").reverse().join("."),
    frameworkId,
    command: app.cmd === undefined ? { argv: app.args ?? [] } : { shell: app.cmd },
    env: environment(app, version, instance),
    ...(app.user === undefined ? {} : { user: app.user }),
    fetch: app.fetch.map(({ cache: _cache, ...file }) => file),
    resources: { cpus: app.cpus, mem: app.mem, disk: app.disk },
    ports: instance.ports,
    volumes: (app.container?.volumes ?? []).flatMap((volume) => mesosVolume(volume) ?? []),
    ...(app.container?.type === "DOCKER" && app.container.docker !== undefined
      ? { docker: dockerInfo(app, app.container.docker, instance) }
      : {}),
    ...mesosCheck(app, instance),
    killGraceSeconds: app.taskKillGracePeriodSeconds ?? GRACE_SECONDS[app.container?.type ?? "MESOS"],
    labels: app.labels,
  };
}

/** The check that the agent makes, where the task listens: an application has at most one. */
function mesosCheck(app: AppDefinition, instance: Instance): Pick<TaskInfo, "healthCheck"> {
  const check = app.healthChecks.find(isMesosCheck);
  if (check === undefined) return {};
  const port = check.port ?? portsOf(app, instance)[check.portIndex ?? 0]?.inside ?? 0;
  const { protocol, command, path = "/" } = check;
  const { delaySeconds, intervalSeconds, timeoutSeconds, gracePeriodSeconds, maxConsecutiveFailures } = check;
  const probe =
    protocol === "COMMAND"
      ? { command: command?.value ?? "" }
      : protocol === "MESOS_TCP"
        ? { port }
        : { port, path, tls: protocol === "MESOS_HTTPS" };
  return {
    healthCheck: { probe, delaySeconds, intervalSeconds, timeoutSeconds, gracePeriodSeconds, maxConsecutiveFailures },
  };
}

function dockerInfo(
  app: AppDefinition,
  { image, forcePullImage, privileged, parameters }: NonNullable<NonNullable<AppDefinition["container"]>["docker"]>,
  instance: Instance,
): DockerInfo {
  const [network] = app.networks;
  const mode = network?.mode === "container/bridge" ? "bridge" : network?.mode === "container" ? network.name : "host";
  const portMappings = portsOf(app, instance).flatMap(({ inside, hostPort, protocol }) =>
    mode === "host" || hostPort === undefined ? [] : [{ containerPort: inside, hostPort, protocol }],
  );
  return { image, forcePullImage, privileged, parameters, network: mode ?? "bridge", portMappings };
}

/** Options with the provider's prefix, without it; the size wins over an option of that name. */
function driverOptions({ options, size }: NonNullable<Volume["external"]>): Record<string, string> {
  const own = Object.entries(options)
    .filter(([key]) => key.startsWith("dvdi/") && key.toLowerCase() !== "dvdi/driver")
    .map(([key, value]) => [key.slice("dvdi/".length), value.trim()] as const);
  return { ...Object.fromEntries(own), ...(size === undefined ? {} : { size: String(size) }) };
}

function mesosVolume({ containerPath, mode, external, hostPath }: Volume): MesosVolume | undefined {
  if (hostPath !== undefined) return { containerPath, mode, source: { hostPath } };
  if (external === undefined) return undefined;
  const driver = external.options["dvdi/driver"] ?? "";
  return { containerPath, mode, source: { driver, name: external.name ?? "", options: driverOptions(external) } };
}

function environment(app: AppDefinition, version: string, instance: Instance): Record<string, string> {
  const labels = Object.entries(app.labels)
    .filter(([key, value]) => key.length < LONGEST_LABEL && value.length < LONGEST_LABEL)
    .map(([key, value]) => [variable(key), value] as const);
  const decimal = (value: number) => (Number.isInteger(value) ? value.toFixed(1) : String(value));
  return {
    MARATHON_APP_ID: app.id,
    MARATHON_APP_VERSION: version,
    ...(app.container?.type === "DOCKER" ? { MARATHON_APP_DOCKER_IMAGE: app.container.docker?.image ?? "" } : {}),
    MARATHON_APP_RESOURCE_CPUS: decimal(app.cpus),
    MARATHON_APP_RESOURCE_MEM: decimal(app.mem),
    MARATHON_APP_RESOURCE_DISK: decimal(app.disk),
    MARATHON_APP_RESOURCE_GPUS: String(app.gpus),
    MARATHON_APP_LABELS: labels.map(([key]) => key).join(" "),
    ...Object.fromEntries(labels.map(([key, value]) => [`MARATHON_APP_LABEL_${key}`, value])),
    MARATHON_APP_ENFORCE_GROUP_ROLE: "FALSE",
    MESOS_TASK_ID: taskIdOf(instance),
    MESOS_ALLOCATION_ROLE: app.role,
    HOST: instance.agent ?? "",
    ...portVariables(portsOf(app, instance)),
    ...Object.fromEntries(Object.entries(app.env).filter(([, value]) => typeof value === "string")),
  };
}
