import { type AppRecord, current, type Groups, type Version } from "../scheduler/store.ts";

type Json = Record<string, unknown>;

/** An application in a tree of groups. */
export interface TreeApp {
  readonly id: string;
  readonly version: string;
  readonly json: Json;
}

/** Whether an application is in a group. */
export const isBelow = (id: string, group: string): boolean => group === "/" || id.startsWith(`${group}/`);

/** What of a group is shown. */
export interface Shown {
  readonly apps: boolean;
  readonly groups: boolean;
  readonly pods: boolean;
}

export const ALL_SHOWN: Shown = { apps: true, groups: true, pods: true };

/**
 * A group with all below it: those that were made, and those that the ids of applications have in common. Without
 * `enforceRole`, which newer ones have too: Debian's python3-marathon refuses a group that has it.
 */
export function groupTree(path: string, apps: readonly TreeApp[], groups: Groups, shown = ALL_SHOWN): Json {
  const prefix = path === "/" ? "/" : `${path}/`;
  const all = apps.filter(({ id }) => isBelow(id, path));
  const own = all.filter(({ id }) => !id.slice(prefix.length).includes("/"));
  const deeper = all.filter((app) => !own.includes(app));
  const inside = Object.keys(groups).filter((group) => group !== path && isBelow(group, path));
  const names = [...deeper.map(({ id }) => id), ...inside].map((id) => id.slice(prefix.length).split("/")[0] as string);
  const children = new Set(names.filter(Boolean).map((name) => prefix + name));
  const versions = [...all, ...[path, ...inside].flatMap((group) => groups[group] ?? [])].map(({ version }) => version);
  return {
    id: path,
    ...(shown.apps ? { apps: own.map(({ json }) => json) } : {}),
    ...(shown.pods ? { pods: [] } : {}),
    ...(shown.groups ? { groups: [...children].map((child) => groupTree(child, deeper, groups, shown)) } : {}),
    dependencies: groups[path]?.dependencies ?? [],
    version: versions.toSorted().at(-1) ?? new Date(0).toISOString(),
  };
}

/** The version of each application that was current at a time; those that are younger are not there. */
export function versionsAt(records: readonly AppRecord[], time: string): Version[] {
  return records.flatMap((record) => record.versions.find(({ version }) => version <= time) ?? []);
}

/** Times at which something below a group has changed, newest first. */
export function versionTimes(records: readonly AppRecord[], path: string): string[] {
  const below = records.filter((record) => isBelow(current(record).app.id, path));
  return [...new Set(below.flatMap(({ versions }) => versions.map(({ version }) => version)))].toSorted().toReversed();
}
