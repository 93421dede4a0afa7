import type { AppDefinition, AppUpdate, Network } from "./app.ts";
import { checkApp } from "./app-rules.ts";
import { APP_FIELDS, appUpdateShape } from "./app-shape.ts";
import { checkExternalSizes } from "./external-volume-rules.ts";
import { TEXTS } from "./texts.ts";
import { MarathonError, refuse, Violations } from "./violations.ts";

export interface DefineOptions {
  /** Whether the feature `external_volumes` is on. */
  readonly externalVolumes: boolean;
  /** A service port that is not taken. */
  readonly servicePort: () => number;
}

/** Stage 2: the shape. Throws 422 in Marathon's form. */
export function readUpdate(body: unknown): AppUpdate {
  const found = new Violations();
  const update = appUpdateShape(body, "", found);
  refuse(found, "shape");
  return update;
}

/**
 * Stages 3 to 8 (spec/marathon.md 2): what a request says of an application, over what is stored of it, made complete and
 * checked. Throws MarathonError: 422, or 500 where Marathon's own rewriting gives up.
 *
 * @param before undefined: the application is created
 */
export function defineApp(
  id: string,
  update: AppUpdate,
  before: AppDefinition | undefined,
  options: DefineOptions,
): AppDefinition {
  checkDeprecated(update);
  const merged: Record<string, unknown> = { ...before };
  for (const field of APP_FIELDS) if (update[field] !== undefined) merged[field] = update[field];
  const app = complete(rewrite({ ...merged, id } as AppUpdate, update), options);
  const found = new Violations();
  checkApp(app, found, options);
  refuse(found, "rules");
  const lower = app.constraints.find(([, operator = ""]) => operator !== operator.toUpperCase());
  if (lower !== undefined) throw new MarathonError(500, TEXTS.rewriting.constraint(lower));
  const sizes = new Violations();
  checkExternalSizes(app, sizes);
  refuse(sizes, "rules");
  return app;
}

/** Absolute, without a slash at the end and without double ones: `a//b/` is `/a/b`. */
export function absoluteId(id: string, base = "/"): string {
  const parts: string[] = [];
  for (const part of (id.startsWith("/") ? id : `${base}/${id}`).split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return `/${parts.join("/")}`;
}

/** Stage 3. */
function checkDeprecated(update: AppUpdate): void {
  const found = new Violations();
  if (update.ports !== undefined && update.portDefinitions !== undefined) found.add("/", TEXTS.deprecated.ports);
  if (update.container?.docker?.network !== undefined && update.networks !== undefined)
    found.add("/", TEXTS.deprecated.network);
  const docker = update.container?.type === "MESOS" ? update.container.docker : undefined;
  for (const key of ["network", "portMappings", "credential"] as const)
    if (docker?.[key] !== undefined) found.add(`/container/docker/${key}`, TEXTS.deprecated.mustBeEmpty);
  refuse(found, "rules");
}

const NETWORKS = { HOST: "host", NONE: "host", BRIDGE: "container/bridge", USER: "container" } as const;

/** Stage 4: fields of former versions become those of today. */
function rewrite(merged: AppUpdate, update: AppUpdate): AppUpdate {
  const { ports, uris, ipAddress, version: _version, ...app } = merged;
  const asked = update.container?.docker;
  const old = update.ipAddress !== undefined || asked?.portMappings !== undefined;
  if (old && update.networks !== undefined) throw new MarathonError(500, TEXTS.rewriting.networks);
  if (uris !== undefined && update.fetch !== undefined) throw new MarathonError(500, TEXTS.rewriting.uris);
  const result: { -readonly [K in keyof AppUpdate]: AppUpdate[K] } = app;
  if (uris !== undefined) result.fetch = uris.map((uri) => ({ uri, extract: true, executable: false, cache: false }));
  if (ports !== undefined)
    result.portDefinitions = ports.map((port) => ({ port, protocol: "tcp", name: undefined as never, labels: {} }));
  const { networkName, labels = {} } = ipAddress ?? {};
  const named = networkName === undefined ? { labels } : { labels, name: networkName };
  if (ipAddress !== undefined) result.networks = [{ mode: "container", ...named }];
  const docker = app.container?.docker;
  if (app.container === undefined || docker === undefined) return result;
  const { network, portMappings, credential: _credential, ...rest } = docker;
  if (network !== undefined) {
    const mode = NETWORKS[network];
    result.networks = [mode === "container" ? { mode, ...named } : { mode }];
  }
  const mappings = app.container.portMappings ?? portMappings;
  result.container = { ...app.container, docker: rest, ...(mappings === undefined ? {} : { portMappings: mappings }) };
  return result;
}

/** Stage 5: what is left out (spec/marathon.md 4). */
function complete(given: AppUpdate, { servicePort }: DefineOptions): AppDefinition {
  const volumes = given.container?.volumes ?? [];
  const stateful = volumes.some(({ external, persistent }) => external !== undefined || persistent !== undefined);
  const networks: readonly Network[] =
    given.networks === undefined || given.networks.length === 0 ? [{ mode: "host" }] : given.networks;
  const host = networks[0]?.mode === "host";
  const numbered = <T extends { port: number }>(one: T): T => (one.port === 0 ? { ...one, port: servicePort() } : one);
  const definitions = given.portDefinitions ?? [{ port: 0, protocol: "tcp", name: "default", labels: {} }];
  const container = given.container && {
    ...given.container,
    ...(host
      ? {}
      : {
          portMappings: (
            given.container.portMappings ?? [
              { containerPort: 0, hostPort: 0, servicePort: 0, protocol: "tcp", name: "default", labels: {} },
            ]
          ).map((mapping) => ({
            ...mapping,
            // On a bridge each one leads in from outside.
            ...(networks[0]?.mode === "container/bridge" ? { hostPort: mapping.hostPort ?? 0 } : {}),
            servicePort: mapping.servicePort === 0 ? servicePort() : mapping.servicePort,
          })),
        }),
  };
  const { portDefinitions: _definitions, healthChecks = [], ...rest } = given;
  return {
    env: {},
    instances: 1,
    cpus: 1,
    mem: 128,
    disk: 0,
    gpus: 0,
    executor: "",
    constraints: [],
    fetch: [],
    backoffSeconds: 1,
    backoffFactor: 1.15,
    maxLaunchDelaySeconds: 300,
    readinessChecks: [],
    upgradeStrategy: { minimumHealthCapacity: stateful ? 0.5 : 1, maximumOverCapacity: stateful ? 0 : 1 },
    labels: {},
    requirePorts: false,
    secrets: {},
    // External volumes can go elsewhere, local ones cannot.
    unreachableStrategy: volumes.some(({ persistent }) => persistent !== undefined)
      ? "disabled"
      : { inactiveAfterSeconds: 0, expungeAfterSeconds: 0 },
    killSelection: "YOUNGEST_FIRST",
    role: "*",
    ...rest,
    ...(container === undefined ? {} : { container }),
    ...(host ? { portDefinitions: definitions.map(numbered) } : {}),
    id: given.id as string,
    networks,
    healthChecks: healthChecks.map((check) =>
      check.protocol === "COMMAND" || check.port !== undefined || check.portIndex !== undefined
        ? check
        : { ...check, portIndex: 0 },
    ),
    dependencies: (given.dependencies ?? []).map((other) =>
      absoluteId(other, (given.id as string).replace(/\/[^/]*$/, "")),
    ),
  };
}
