import { randomUUID } from "node:crypto";
import type { AppDefinition } from "../definition/app.ts";

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
export function planDeployment(changes: readonly AppChange[], version: string): Deployment {
  const stops = changes
    .filter(({ after }) => after === null)
    .map(({ id }) => ({ action: "StopApplication", app: id }) as const);
  const starts = changes
    .filter(({ before }) => before === null)
    .map(({ id }) => ({ action: "StartApplication", app: id }) as const);
  const levels = new Map<number, Action[]>();
  for (const change of changes) {
    if (change.after === null) continue;
    const level = levelOf(change.id, changes, new Set());
    levels.set(level, [...(levels.get(level) ?? []), { action: kindOf(change), app: change.id }]);
  }
  const inOrder = [...levels].toSorted(([a], [b]) => a - b).map(([, actions]) => actions);
  return {
    id: randomUUID(),
    version,
    steps: [stops, starts, ...inOrder].filter((actions) => actions.length > 0).map((actions) => ({ actions })),
    step: 0,
    before: Object.fromEntries(changes.map(({ id, before }) => [id, before])),
  };
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

/** How many others of the same change have to be there first. */
function levelOf(id: string, changes: readonly AppChange[], seen: Set<string>): number {
  if (seen.has(id)) return 0;
  const own = changes.find((change) => change.id === id)?.after;
  // A dependency on a group is one on all that is in it.
  const needed = (own?.dependencies ?? []).flatMap((other) =>
    changes.map((change) => change.id).filter((one) => one === other || one.startsWith(`${other}/`)),
  );
  return needed.reduce((most, other) => Math.max(most, 1 + levelOf(other, changes, new Set([...seen, id]))), 0);
}
