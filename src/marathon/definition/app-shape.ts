import type { AppDefinition, AppUpdate, Container, HealthCheck, Volume } from "./app.ts";
import {
  arrayOf,
  boolean,
  firstOf,
  isObject,
  mapOf,
  number,
  object,
  oneOf,
  optional,
  required,
  type Shape,
  string,
} from "./shape.ts";

/** The JSON of an application (spec/marathon.md 3.1, 4): what may be where, and defaults that do not depend on other fields. */

const LABEL = "[a-z0-9](?:[-a-z0-9]*[a-z0-9])?";
const SEGMENT = `(?:\\.\\.|\\.|${LABEL}(?:\\.${LABEL})*)`;
const APP_ID = new RegExp(`^/?(?:${SEGMENT}(?:/+${SEGMENT})*)?/?$`);

const int = (limits: { min?: number; max?: number } = {}) => number({ ...limits, type: "int" });
const containerPath = required(string({ minLength: 1 }));
const mode = required(oneOf("RW", "RO"));
const text = string();

/** A volume is what the first of these says that fits: so what is wrong with an external one is told as if of a host one. */
const volume: Shape<Volume> = firstOf<Volume>(
  object({
    containerPath,
    mode,
    persistent: required(object({ size: required(number({ min: 0, type: "long" })) })),
  }) as Shape<Volume>,
  object({
    containerPath,
    mode,
    external: required(
      object({
        name: optional(text),
        provider: optional(text),
        size: optional(number({ min: 0, type: "long" })),
        options: optional(mapOf(text), {}),
        shared: optional(boolean, false),
      }),
    ),
  }) as Shape<Volume>,
  object({ containerPath, secret: required(text) }) as unknown as Shape<Volume>,
  object({ containerPath, hostPath: required(string({ minLength: 1 })), mode }) as Shape<Volume>,
);

const portMapping = object({
  containerPort: optional(int({ min: 0, max: 65535 }), 0),
  hostPort: optional(int({ min: 0, max: 65535 })),
  servicePort: optional(int({ min: 0, max: 65535 }), 0),
  protocol: optional(oneOf("tcp", "udp", "udp,tcp"), "tcp"),
  name: optional(text),
  labels: optional(mapOf(text), {}),
});

const container = object<Container>({
  type: optional(oneOf("DOCKER", "MESOS"), "DOCKER"),
  docker: optional(
    object({
      image: required(string({ minLength: 1 })),
      forcePullImage: optional(boolean, false),
      privileged: optional(boolean, false),
      parameters: optional(arrayOf(object({ key: required(text), value: required(text) })), []),
      network: optional(oneOf("BRIDGE", "HOST", "NONE", "USER")),
      portMappings: optional(arrayOf(portMapping)),
      credential: optional(object({ principal: required(text), secret: optional(text) })),
    }),
  ),
  volumes: optional(arrayOf(volume), []),
  portMappings: optional(arrayOf(portMapping)),
}) as Shape<Container>;

const seconds = int({ min: 0 });
const healthCheck = object<HealthCheck>({
  protocol: optional(oneOf("HTTP", "HTTPS", "TCP", "COMMAND", "MESOS_HTTP", "MESOS_HTTPS", "MESOS_TCP"), "HTTP"),
  path: optional(text),
  port: optional(int({ min: 0, max: 65535 })),
  portIndex: optional(int({ min: 0 })),
  command: optional(object({ value: required(text) })),
  gracePeriodSeconds: optional(seconds, 300),
  intervalSeconds: optional(seconds, 60),
  timeoutSeconds: optional(seconds, 20),
  maxConsecutiveFailures: optional(seconds, 3),
  delaySeconds: optional(seconds, 15),
  ignoreHttp1xx: optional(boolean, false),
}) as Shape<HealthCheck>;

const readinessCheck = object({
  name: optional(text, "readinessCheck"),
  protocol: optional(oneOf("HTTP", "HTTPS"), "HTTP"),
  path: optional(text, "/"),
  portName: optional(text, "http-api"),
  intervalSeconds: optional(int({ min: 1 }), 30),
  timeoutSeconds: optional(int({ min: 1 }), 10),
  httpStatusCodesForReady: optional(arrayOf(int()), [200]),
  preserveLastResponse: optional(boolean, false),
});

/** "disabled" or the two times. */
const unreachableStrategy: Shape<AppDefinition["unreachableStrategy"]> = (value, path, found) =>
  isObject(value)
    ? object({ inactiveAfterSeconds: optional(seconds, 0), expungeAfterSeconds: optional(seconds, 0) })(
        value,
        path,
        found,
      )
    : oneOf("disabled")(value, path, found);

const fields = {
  id: optional(string({ pattern: APP_ID })),
  cmd: optional(text),
  args: optional(arrayOf(text)),
  user: optional(text),
  env: optional(mapOf<unknown>((value) => value) as Shape<Record<string, string>>),
  instances: optional(int({ min: 0 })),
  cpus: optional(number({ min: 0.001 })),
  mem: optional(number({ min: 0 })),
  disk: optional(number({ min: 0 })),
  gpus: optional(int({ min: 0 })),
  executor: optional(string({ pattern: /^(?:|\/\/cmd|\/?[^/]+(?:\/[^/]+)*)$/ })),
  constraints: optional(arrayOf(arrayOf(text))),
  fetch: optional(
    arrayOf(
      object({
        uri: required(text),
        extract: optional(boolean, true),
        executable: optional(boolean, false),
        cache: optional(boolean, false),
        destPath: optional(text),
      }),
    ),
  ),
  uris: optional(arrayOf(text)),
  ipAddress: optional(object({ networkName: optional(text), labels: optional(mapOf(text), {}) })),
  backoffSeconds: optional(int({ min: 0 })),
  backoffFactor: optional(number({ min: 1 })),
  maxLaunchDelaySeconds: optional(int({ min: 0 })),
  container: optional(container),
  healthChecks: optional(arrayOf(healthCheck)),
  readinessChecks: optional(arrayOf(readinessCheck)),
  dependencies: optional(arrayOf(string({ pattern: APP_ID }))),
  upgradeStrategy: optional(
    object({
      minimumHealthCapacity: required(number({ min: 0, max: 1 })),
      maximumOverCapacity: required(number({ min: 0, max: 1 })),
    }),
  ),
  labels: optional(mapOf(text)),
  acceptedResourceRoles: optional(arrayOf(text)),
  networks: optional(
    arrayOf(
      object({
        mode: optional(oneOf("host", "container", "container/bridge"), "container"),
        name: optional(text),
        labels: optional(mapOf(text), {}),
      }),
    ),
  ),
  portDefinitions: optional(
    arrayOf(
      object({
        port: optional(int({ min: 0, max: 65535 }), 0),
        protocol: optional(oneOf("tcp", "udp", "udp,tcp"), "tcp"),
        name: optional(text),
        labels: optional(mapOf(text), {}),
      }),
    ),
  ),
  ports: optional(arrayOf(int({ min: 0, max: 65535 }))),
  requirePorts: optional(boolean),
  secrets: optional(mapOf<unknown>((value) => value)),
  taskKillGracePeriodSeconds: optional(int({ min: 0 })),
  unreachableStrategy: optional(unreachableStrategy),
  killSelection: optional(oneOf("YOUNGEST_FIRST", "OLDEST_FIRST")),
  role: optional(text),
  tty: optional(boolean),
  version: optional(text),
};

/** What a request may say of an application; all of it is optional here. */
export const appUpdateShape = object(fields as never) as unknown as Shape<AppUpdate>;
/** The names of all fields, for merging. */
export const APP_FIELDS = Object.keys(fields) as readonly (keyof AppUpdate)[];
