import { type AppDefinition, externalVolumes, type Volume } from "./app.ts";
import type { Violations } from "./violations.ts";

/** The rules of external volumes (spec/marathon.md 3.2 to 3.5): every text that Marathon has for them is in this file. */

const LABEL = "^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$";
const OPTION_KEY = "^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?/[A-Za-z0-9](?:[-A-Za-z0-9\\._:]*[A-Za-z0-9])?$";
const notMatching = (pattern: string) => `must match regular expression '${pattern}'`;
const isLabel = (text: string) => new RegExp(LABEL).test(text);

const TEXTS = {
  off: "Feature external_volumes is not enabled. Enable with --enable_features external_volumes)",
  empty: "must not be empty",
  undefined: "not defined",
  provider: "is unknown provider",
  iops: (value: string) => `Expected a valid, positive integer instead of ${value}`,
  boolean: "Expected a valid boolean",
  readOnly: "does not equal RW",
  dots: "can not be one of (.,..)",
  dockerOptions: "must only contain dvdi/driver",
  dockerSize: "must be undefined for Docker containers",
  sizeZero: "got 0, expected more than 0",
  unique: "Volume names must be unique",
  twice: (name: string, app: string) => `Requested DVDI volume '${name}' is declared more than once within app ${app}`,
  instances: (app: string) => `Number of instances is limited to 1 when declaring DVDI volumes in app [${app}]`,
  overCapacity: (value: number) => `got ${value.toFixed(1)}, expected 0.0`,
  conflict: (name: string, app: string, others: readonly string[]) =>
    `Volume name '${name}' in ${app} conflicts with volume(s) of same name in app(s): ${others.join(", ")}`,
};

const DRIVER = "dvdi/driver";

/** @param enabled whether the feature `external_volumes` is on */
export function checkExternalVolumes(app: AppDefinition, found: Violations, { enabled }: { enabled: boolean }): void {
  const volumes = externalVolumes(app);
  if (volumes.length === 0) return;
  for (const { index } of volumes) {
    const path = `/container/volumes(${index})`;
    if (!enabled) found.add(path, TEXTS.off);
    else checkVolume(app, app.container?.volumes[index] as Volume, path, found);
  }
  if (!enabled) return;
  const dvdi = volumes.filter(({ provider }) => provider === "dvdi");
  const repeated = (names: readonly string[]) => names.filter((name, index) => names.indexOf(name) !== index);
  if (repeated(volumes.map(({ name }) => name ?? "")).length > 0) found.add("/container/volumes", TEXTS.unique);
  const own = dvdi.filter(({ shared }) => !shared).map(({ name }) => name ?? "");
  for (const name of new Set(repeated(own))) found.add("/", TEXTS.twice(name, app.id));
  if (dvdi.length > 0 && app.instances > 1) found.add("/", TEXTS.instances(app.id));
  const over = app.upgradeStrategy.maximumOverCapacity;
  if (over !== 0) found.add("/upgradeStrategy/maximumOverCapacity", TEXTS.overCapacity(over));
}

function checkVolume(app: AppDefinition, volume: Volume, path: string, found: Violations): void {
  const { name, provider, size, options } = volume.external as NonNullable<Volume["external"]>;
  const docker = app.container?.type === "DOCKER";
  if (name === undefined || name === "") found.add(`${path}/external/name`, TEXTS.empty);
  if (name === undefined && provider === "dvdi") found.add(`${path}/external/name`, TEXTS.undefined);
  if (provider === undefined) found.add(`${path}/external/provider`, TEXTS.undefined);
  else {
    if (!isLabel(provider)) found.add(`${path}/external/provider`, notMatching(LABEL));
    if (provider !== "dvdi") found.add(`${path}/external/provider`, TEXTS.provider);
  }
  if (Object.keys(options).some((key) => !new RegExp(OPTION_KEY).test(key)))
    found.add(`${path}/external/options/keys`, notMatching(OPTION_KEY));
  if (provider === "dvdi") checkDvdiOptions(options, `${path}/external/options`, found);
  if ([".", ".."].includes(volume.containerPath)) found.add(`${path}/containerPath`, TEXTS.dots);
  if (docker) {
    if (Object.keys(options).some((key) => key !== DRIVER)) found.add(`${path}/external/options`, TEXTS.dockerOptions);
    if (size !== undefined) found.add(`${path}/external/size`, TEXTS.dockerSize);
  } else if (volume.mode !== "RW") found.add(`${path}/mode`, TEXTS.readOnly);
}

function checkDvdiOptions(options: Readonly<Record<string, string>>, path: string, found: Violations): void {
  const driver = options[DRIVER];
  if (driver === undefined) found.add(`${path}("${DRIVER}")`, TEXTS.undefined);
  else if (!isLabel(driver)) found.add(`${path}("${DRIVER}")`, notMatching(LABEL));
  if (driver !== "rexray") return;
  for (const key of ["dvdi/volumetype", "dvdi/newfstype"]) {
    const value = options[key];
    if (value !== undefined && !isLabel(value)) found.add(`${path}/"${key}"`, notMatching(LABEL));
  }
  const iops = options["dvdi/iops"];
  if (iops !== undefined && !/^\+?0*[1-9]\d*$/.test(iops)) found.add(`${path}/"dvdi/iops"`, TEXTS.iops(iops));
  const overwrite = options["dvdi/overwritefs"];
  if (overwrite !== undefined && overwrite !== "true") found.add(`${path}/"dvdi/overwritefs"`, TEXTS.boolean);
}

/** Stage 8: what the internal model does not take. */
export function checkExternalSizes(app: AppDefinition, found: Violations): void {
  for (const { size, index } of externalVolumes(app))
    if (size === 0) found.add(`/container/volumes(${index})/volume/external/size`, TEXTS.sizeZero);
}

/** Stage 11: no two applications use one volume, unless both say that they share it. */
export function checkVolumeNames(apps: readonly AppDefinition[], found: Violations): void {
  const users = new Map<string, { app: AppDefinition; shared: boolean }[]>();
  for (const app of apps)
    for (const { name, shared } of externalVolumes(app))
      users.set(name ?? "", [...(users.get(name ?? "") ?? []), { app, shared }]);
  for (const [name, all] of users) {
    const owners = all.filter(({ shared }) => !shared).map(({ app }) => app.id);
    for (const { app } of all) {
      const others = owners.filter((id) => id !== app.id);
      if (others.length > 0) found.add(containerPathOf(apps, app), TEXTS.conflict(name, app.id, others));
    }
  }
}

/** `/apps(k)/container`, or below `/groups(g)` for an application in a group. */
function containerPathOf(apps: readonly AppDefinition[], app: AppDefinition): string {
  const groups = app.id.split("/").slice(1, -1);
  const beside = apps.filter(({ id }) => id.slice(0, id.lastIndexOf("/")) === app.id.slice(0, app.id.lastIndexOf("/")));
  return `${groups.map(() => "/groups(0)").join("")}/apps(${beside.indexOf(app)})/container`;
}
