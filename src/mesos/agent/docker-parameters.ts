import type Docker from "dockerode";

/** A parameter as a definition has it: the long or short name of a flag of `docker run`, and its value. */
export interface Parameter {
  readonly key: string;
  readonly value: string;
}

/** What a parameter adds to a container's options. */
type Apply = (options: Docker.ContainerCreateOptions & { HostConfig: Docker.HostConfig }, value: string) => void;

const list =
  (key: "CapAdd" | "CapDrop" | "Dns" | "DnsSearch" | "ExtraHosts" | "GroupAdd" | "SecurityOpt"): Apply =>
  ({ HostConfig }, value) => {
    HostConfig[key] = [...(HostConfig[key] ?? []), value];
  };

const pair = (value: string): [string, string] => {
  const at = value.indexOf("=");
  return at < 0 ? [value, ""] : [value.slice(0, at), value.slice(at + 1)];
};

const UNITS: Readonly<Record<string, number>> = { "": 1, b: 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

function bytes(value: string): number {
  const match = /^(\d+)([bkmg]?)b?$/i.exec(value);
  if (match === null) throw new Error(`"${value}" is no size: write a number and b, k, m or g`);
  return Number(match[1]) * (UNITS[(match[2] as string).toLowerCase()] as number);
}

function ulimit(value: string): Docker.Ulimit {
  const match = /^(\w+)=(\d+)(?::(\d+))?$/.exec(value);
  if (match === null) throw new Error(`"${value}" is no limit: write name=soft:hard`);
  return { Name: match[1] as string, Soft: Number(match[2]), Hard: Number(match[3] ?? match[2]) };
}

/**
 * Docker's flags, by their long names. Mesos hands them to the docker command as they are; here they go to the engine's API. A
 * new one is a line.
 */
const PARAMETERS: Readonly<Record<string, Apply>> = {
  "add-host": list("ExtraHosts"),
  "cap-add": list("CapAdd"),
  "cap-drop": list("CapDrop"),
  dns: list("Dns"),
  "dns-search": list("DnsSearch"),
  entrypoint: (options, value) => {
    options.Entrypoint = [value];
  },
  env: (options, value) => {
    options.Env = [...(options.Env ?? []), value];
  },
  "group-add": list("GroupAdd"),
  hostname: (options, value) => {
    options.Hostname = value;
  },
  init: ({ HostConfig }, value) => {
    HostConfig.Init = value !== "false";
  },
  ipc: ({ HostConfig }, value) => {
    HostConfig.IpcMode = value;
  },
  label: (options, value) => {
    const [key, text] = pair(value);
    options.Labels = { ...options.Labels, [key]: text };
  },
  "log-driver": ({ HostConfig }, value) => {
    HostConfig.LogConfig = { Type: value, Config: HostConfig.LogConfig?.Config ?? {} };
  },
  "log-opt": ({ HostConfig }, value) => {
    const [key, text] = pair(value);
    const { Type = "json-file", Config = {} } = HostConfig.LogConfig ?? {};
    HostConfig.LogConfig = { Type, Config: { ...Config, [key]: text } };
  },
  "memory-swap": ({ HostConfig }, value) => {
    HostConfig.MemorySwap = value === "-1" ? -1 : bytes(value);
  },
  pid: ({ HostConfig }, value) => {
    HostConfig.PidMode = value;
  },
  "read-only": ({ HostConfig }, value) => {
    HostConfig.ReadonlyRootfs = value !== "false";
  },
  "security-opt": list("SecurityOpt"),
  "shm-size": ({ HostConfig }, value) => {
    HostConfig.ShmSize = bytes(value);
  },
  "stop-signal": (options, value) => {
    options.StopSignal = value;
  },
  sysctl: ({ HostConfig }, value) => {
    const [key, text] = pair(value);
    HostConfig.Sysctls = { ...HostConfig.Sysctls, [key]: text };
  },
  tmpfs: ({ HostConfig }, value) => {
    const [place = "", options = ""] = value.split(/:(.*)/s);
    HostConfig.Tmpfs = { ...HostConfig.Tmpfs, [place]: options };
  },
  ulimit: ({ HostConfig }, value) => {
    HostConfig.Ulimits = [...(HostConfig.Ulimits ?? []), ulimit(value)];
  },
  user: (options, value) => {
    options.User = value;
  },
  volume: ({ HostConfig }, value) => {
    HostConfig.Binds = [...(HostConfig.Binds ?? []), value];
  },
  "volume-driver": ({ HostConfig }, value) => {
    HostConfig.VolumeDriver ??= value;
  },
  workdir: (options, value) => {
    options.WorkingDir = value;
  },
};

const SHORT: Readonly<Record<string, string>> = {
  e: "env",
  h: "hostname",
  l: "label",
  u: "user",
  v: "volume",
  w: "workdir",
};

/** Adds the parameters to a container's options. Throws what becomes the task's failure. */
export function applyParameters(
  options: Docker.ContainerCreateOptions & { HostConfig: Docker.HostConfig },
  parameters: readonly Parameter[],
): void {
  for (const { key, value } of parameters) {
    const apply = PARAMETERS[SHORT[key] ?? key];
    if (apply === undefined) {
      const known = Object.keys(PARAMETERS).join(", ");
      throw new Error(`docker parameter '${key}' is not known here: leave it out; known are ${known}`);
    }
    apply(options, value);
  }
}
