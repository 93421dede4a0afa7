import type { AppDefinition } from "../definition/app.ts";
import { type Instance, isReady } from "./instance.ts";

/** Those that go first, by the application's kill selection; those that are not ready before all others. */
export function firstToGo(instances: readonly Instance[], count: number, app: AppDefinition): Instance[] {
  if (count <= 0) return [];
  const youngest = app.killSelection === "YOUNGEST_FIRST" ? -1 : 1;
  return instances
    .toSorted(
      (a, b) => Number(isReady(a, app)) - Number(isReady(b, app)) || youngest * (a.createdAt < b.createdAt ? -1 : 1),
    )
    .slice(0, count);
}

/** Lost for longer than the application's strategy waits: another one takes its place. */
export function isInactive({ unreachableStrategy }: AppDefinition, { state, unreachableSince }: Instance): boolean {
  if (state !== "TASK_UNREACHABLE" || unreachableStrategy === "disabled" || unreachableSince === undefined)
    return false;
  return Date.now() - Date.parse(unreachableSince) >= unreachableStrategy.inactiveAfterSeconds * 1000;
}
