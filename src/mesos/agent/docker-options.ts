import path from "node:path";
import type Docker from "dockerode";
import { AGENT_LABEL } from "../host/docker-engine.ts";
import type { DockerInfo, TaskInfo } from "../task.ts";
import { applyParameters } from "./docker-parameters.ts";

const TASK_LABEL = "MESOS_TASK_ID";
const SANDBOX = "/mnt/mesos/sandbox";

/** The engine takes no less (MiB; shares). */
const LEAST_MEMORY = 6;
const LEAST_SHARES = 2;

/** The container that a task becomes, and what it is made of besides. */
export interface ContainerRequest {
  readonly info: TaskInfo & { readonly docker: DockerInfo };
  readonly name: string;
  /** On the machine. */
  readonly sandbox: string;
  readonly agent: string;
}

/** A task as Docker's API takes it (spec/marathon.md 3.7, 7). Throws what becomes the task's failure. */
export function containerOptions({ info, name, sandbox, agent }: ContainerRequest): Docker.ContainerCreateOptions {
  const { docker, resources, env, user } = info;
  const options = {
    name,
    Image: docker.image,
    ...command(info),
    Env: environment({
      ...env,
      MESOS_SANDBOX: SANDBOX,
      MESOS_CONTAINER_NAME: name,
    }),
    Labels: { [TASK_LABEL]: info.taskId, [AGENT_LABEL]: agent },
    ...(user === undefined ? {} : { User: user }),
    ExposedPorts: Object.fromEntries(published(docker).map(([inside]) => [inside, {}])),
    HostConfig: {
      Binds: [`${sandbox}:${SANDBOX}:rw`, ...info.volumes.map((volume) => bind(volume, sandbox))],
      ...volumeDriver(info),
      NetworkMode: docker.network,
      PortBindings: Object.fromEntries(published(docker).map(([inside, HostPort]) => [inside, [{ HostPort }]])),
      Privileged: docker.privileged,
      Memory: Math.max(LEAST_MEMORY, Math.round(resources.mem)) * 1024 * 1024,
      CpuShares: Math.max(LEAST_SHARES, Math.round(resources.cpus * 1024)),
    },
  };
  applyParameters(options, docker.parameters);
  return options;
}

const environment = (env: Readonly<Record<string, string>>) =>
  Object.entries(env).map(([key, value]) => `${key}=${value}`);

function command({ command: given }: TaskInfo): Pick<Docker.ContainerCreateOptions, "Entrypoint" | "Cmd"> {
  if ("shell" in given) return { Entrypoint: ["/bin/sh"], Cmd: ["-c", given.shell] };
  return given.argv.length > 0 ? { Cmd: [...given.argv] } : {};
}

/** "80/tcp" and the machine's port for it; one mapping may be for two protocols. */
const published = ({ portMappings }: DockerInfo): [string, string][] =>
  portMappings.flatMap(({ containerPort, hostPort, protocol }) =>
    protocol.split(",").map((one): [string, string] => [`${containerPort}/${one}`, String(hostPort)]),
  );

function bind({ source, containerPath, mode }: TaskInfo["volumes"][number], sandbox: string): string {
  const from = "driver" in source ? source.name : path.resolve(sandbox, source.hostPath);
  const inside = path.isAbsolute(containerPath) ? containerPath : path.join(SANDBOX, containerPath);
  return `${from}:${inside}:${mode.toLowerCase()}`;
}

function volumeDriver({ volumes }: TaskInfo): Pick<Docker.HostConfig, "VolumeDriver"> {
  const drivers = new Set(volumes.flatMap(({ source }) => ("driver" in source ? [source.driver] : [])));
  if (drivers.size > 1) throw new Error("Only one volume driver is supported");
  const [VolumeDriver] = drivers;
  return VolumeDriver === undefined ? {} : { VolumeDriver };
}
