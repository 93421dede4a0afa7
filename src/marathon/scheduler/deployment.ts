import { randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import type { AppDefinition } from "../definition/app.ts";
import type { GroupRecord, Groups } from "./store.ts";

export type ActionType = "StartApplication" | "StopApplication" | "ScaleApplication" | "RestartApplication";

export interface Action {
  readonly action: ActionType;
  readonly app: string;
}

/** A change of applications under way (spec/marathon.md 6.4). Kept on disk. */
export interface Deployment {
  readonly id: string;
  readonly version: string;
  readonly steps: readonly { readonly actions: readonly Action[] }[];
  /** From 0. */
  step: number;
  /** What there was before, for going back: the definition, or null where there was none. */
  readonly before: Readonly<Record<string, AppDefinition | null>>;
  /** What there shall be. Former versions did not keep it. */
  readonly after?: Readonly<Record<string, AppDefinition | null>>;
  /** Of the groups that it has changed: what they were, or null where there was none. Former versions did not keep it. */
  readonly groupsBefore?: Readonly<Record<string, GroupRecord | null>>;
  /** All instances are started anew although nothing has changed. */
  readonly restart?: true;
}

/** An application before and after; null where there is none. */
export interface AppChange {
  readonly id: string;
  readonly before: AppDefinition | null;
  readonly after: AppDefinition | null;
  /** Start all instances anew although nothing has changed. */
  readonly restart?: boolean;
}

/** The steps: what goes first, then the new ones, then one step for each level of dependencies. */
export function planDeployment(
  changes: readonly AppChange[],
  version: string,
  groups: Groups,
  groupsBefore: Groups = groups,
): Deployment {
  const stops = changes
    .filter(({ after }) => after === null)
    .map(({ id }) => ({ action: "StopApplication", app: id }) as const);
  const starts = changes
    .filter(({ before }) => before === null)
    .map(({ id }) => ({ action: "StartApplication", app: id }) as const);
  const levels = new Map<number, Action[]>();
  const levelOf = levelsOf(changes, groups);
  for (const change of changes) {
    if (change.after === null) continue;
    const level = levelOf(change.id);
    levels.set(level, [...(levels.get(level) ?? []), { action: kindOf(change), app: change.id }]);
  }
  const inOrder = [...levels].toSorted(([a], [b]) => a - b).map(([, actions]) => actions);
  return {
    id: randomUUID(),
    version,
    steps: [stops, starts, ...inOrder].filter((actions) => actions.length > 0).map((actions) => ({ actions })),
    step: 0,
    before: Object.fromEntries(changes.map(({ id, before }) => [id, before])),
    after: Object.fromEntries(changes.map(({ id, after }) => [id, after])),
    groupsBefore: Object.fromEntries(
      [...new Set([...Object.keys(groupsBefore), ...Object.keys(groups)])]
        .filter((path) => !isDeepStrictEqual(groupsBefore[path], groups[path]))
        .map((path) => [path, groupsBefore[path] ?? null]),
    ),
    ...(changes.some(({ restart }) => restart) ? { restart: true } : {}),
  };
}

/** The groups without what a deployment has made of them. What another change has made of one since is left. */
export function groupsWithout({ version, groupsBefore = {} }: Deployment, now: Groups): Groups {
  const back = Object.entries(groupsBefore).filter(([path]) => (now[path]?.version ?? version) === version);
  const others = Object.entries(now).filter(([path]) => !back.some(([one]) => one === path));
  return Object.fromEntries([...others, ...back].filter((entry): entry is [string, GroupRecord] => entry[1] !== null));
}

function kindOf({ before, after, restart }: AppChange): ActionType {
  return before === null || (restart !== true && onlyScaled(before, after)) ? "ScaleApplication" : "RestartApplication";
}

/** Whether two definitions are the same, or both are none. */
export const isSame = (before: AppDefinition | null, after: AppDefinition | null): boolean =>
  canonical(before) === canonical(after);

/** Whether two definitions differ in the number of instances at most. */
export function onlyScaled(before: AppDefinition, after: AppDefinition | null): boolean {
  return after !== null && canonical({ ...before, instances: 0 }) === canonical({ ...after, instances: 0 });
}

/** The same text for the same content, whatever the order of the keys. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

/** Of each application, how many others of the same change have to be there first. */
function levelsOf(changes: readonly AppChange[], groups: Groups): (id: string) => number {
  const apps = new Map(changes.map(({ id, after }) => [id, after]));
  const known = new Map<string, number>();
  const levelOf = (id: string): number => {
    const level = known.get(id);
    if (level !== undefined) return level;
    known.set(id, 0);
    const needed = neededBy(apps.get(id) ?? undefined, apps.keys(), groups);
    known.set(
      id,
      needed.reduce((most, other) => Math.max(most, 1 + levelOf(other)), 0),
    );
    return known.get(id) as number;
  };
  return levelOf;
}

/** Which of these applications one depends on, by itself or by a group it is in: on a group means on all that is in it. */
function neededBy(app: AppDefinition | undefined, ids: Iterable<string>, groups: Groups): string[] {
  if (app === undefined) return [];
  const parts = app.id.split("/");
  const around = parts.map((_part, index) => parts.slice(0, index + 1).join("/"));
  const needed = [...app.dependencies, ...around.flatMap((path) => groups[path]?.dependencies ?? [])];
  if (needed.length === 0) return [];
  return [...ids].filter((id) => id !== app.id && needed.some((other) => id === other || id.startsWith(`${other}/`)));
}

/** Whether an application needs itself by way of others. */
export function hasCycle(ids: readonly string[], apps: ReadonlyMap<string, AppDefinition>, groups: Groups): boolean {
  const open = new Set<string>();
  const done = new Set<string>();
  const visit = (id: string): boolean => {
    if (open.has(id)) return true;
    if (done.has(id)) return false;
    open.add(id);
    const app = apps.get(id);
    const found = app?.dependencies.includes(id) === true || neededBy(app, apps.keys(), groups).some(visit);
    open.delete(id);
    done.add(id);
    return found;
  };
  return ids.some(visit);
}
