import { type AppDefinition, externalVolumes, type Volume } from "./app.ts";
import { PATTERNS, TEXTS } from "./texts.ts";
import type { Violations } from "./violations.ts";

const DRIVER = "dvdi/driver";
const isLabel = (text: string) => PATTERNS.label.test(text);

/** The rules of external volumes (spec/marathon.md 3.2 to 3.5). @param enabled whether the feature `external_volumes` is on */
export function checkExternalVolumes(app: AppDefinition, found: Violations, { enabled }: { enabled: boolean }): void {
  const volumes = externalVolumes(app);
  if (volumes.length === 0) return;
  for (const { index } of volumes) {
    const path = `/container/volumes(${index})`;
    if (!enabled) found.add(path, TEXTS.volume.off);
    else checkVolume(app, app.container?.volumes[index] as Volume, path, found);
  }
  if (!enabled) return;
  const dvdi = volumes.filter(({ provider }) => provider === "dvdi");
  const repeated = (names: readonly string[]) => names.filter((name, index) => names.indexOf(name) !== index);
  if (repeated(volumes.map(({ name }) => name ?? "")).length > 0) found.add("/container/volumes", TEXTS.volume.unique);
  const own = dvdi.filter(({ shared }) => !shared).map(({ name }) => name ?? "");
  for (const name of new Set(repeated(own))) found.add("/", TEXTS.volume.twice(name, app.id));
  if (dvdi.length > 0 && app.instances > 1) found.add("/", TEXTS.volume.instances(app.id));
  const over = app.upgradeStrategy.maximumOverCapacity;
  if (over !== 0) found.add("/upgradeStrategy/maximumOverCapacity", TEXTS.app.notZero(over));
}

function checkVolume(app: AppDefinition, volume: Volume, path: string, found: Violations): void {
  const { name, provider, size, options } = volume.external as NonNullable<Volume["external"]>;
  const docker = app.container?.type === "DOCKER";
  if (name === undefined || name === "") found.add(`${path}/external/name`, TEXTS.volume.empty);
  if (name === undefined && provider === "dvdi") found.add(`${path}/external/name`, TEXTS.volume.undefined);
  if (provider === undefined) found.add(`${path}/external/provider`, TEXTS.volume.undefined);
  else {
    if (!isLabel(provider)) found.add(`${path}/external/provider`, TEXTS.volume.label);
    if (provider !== "dvdi") found.add(`${path}/external/provider`, TEXTS.volume.provider);
  }
  if (Object.keys(options).some((key) => !PATTERNS.optionKey.test(key)))
    found.add(`${path}/external/options/keys`, TEXTS.volume.optionKey);
  if (provider === "dvdi") checkDvdiOptions(options, `${path}/external/options`, found);
  if ([".", ".."].includes(volume.containerPath)) found.add(`${path}/containerPath`, TEXTS.volume.dots);
  if (docker) {
    if (Object.keys(options).some((key) => key !== DRIVER))
      found.add(`${path}/external/options`, TEXTS.volume.dockerOptions);
    if (size !== undefined) found.add(`${path}/external/size`, TEXTS.volume.dockerSize);
  } else if (volume.mode !== "RW") found.add(`${path}/mode`, TEXTS.volume.readOnly);
}

function checkDvdiOptions(options: Readonly<Record<string, string>>, path: string, found: Violations): void {
  const driver = options[DRIVER];
  if (driver === undefined) found.add(`${path}("${DRIVER}")`, TEXTS.volume.undefined);
  else if (!isLabel(driver)) found.add(`${path}("${DRIVER}")`, TEXTS.volume.label);
  if (driver !== "rexray") return;
  for (const key of ["dvdi/volumetype", "dvdi/newfstype"]) {
    const value = options[key];
    if (value !== undefined && !isLabel(value)) found.add(`${path}/"${key}"`, TEXTS.volume.label);
  }
  const iops = options["dvdi/iops"];
  if (iops !== undefined && !/^\+?0*[1-9]\d*$/.test(iops)) found.add(`${path}/"dvdi/iops"`, TEXTS.volume.iops(iops));
  const overwrite = options["dvdi/overwritefs"];
  if (overwrite !== undefined && overwrite !== "true") found.add(`${path}/"dvdi/overwritefs"`, TEXTS.volume.boolean);
}

/** Stage 8: what the internal model does not take. */
export function checkExternalSizes(app: AppDefinition, found: Violations): void {
  for (const { size, index } of externalVolumes(app))
    if (size === 0) found.add(`/container/volumes(${index})/volume/external/size`, TEXTS.volume.sizeZero);
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
      if (others.length > 0) found.add(containerPathOf(apps, app), TEXTS.tree.volume(name, app.id, others));
    }
  }
}

/** `/apps(k)/container`, or below `/groups(g)` for an application in a group. */
function containerPathOf(apps: readonly AppDefinition[], app: AppDefinition): string {
  const groups = app.id.split("/").slice(1, -1);
  const beside = apps.filter(({ id }) => id.slice(0, id.lastIndexOf("/")) === app.id.slice(0, app.id.lastIndexOf("/")));
  return `${groups.map(() => "/groups(0)").join("")}/apps(${beside.indexOf(app)})/container`;
}
