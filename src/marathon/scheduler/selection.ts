import type { AppDefinition } from "../definition/app.ts";
import { type Instance, isLive, isReady, isWell } from "./instance.ts";
import { type AppRecord, current, definitionOf } from "./store.ts";
import { upgradeSteps } from "./upgrade.ts";

/** What is to be done for an application: pure, from what there is and what there shall be. */
export function decide(record: AppRecord): { readonly kill: readonly Instance[]; readonly start: number } {
  const { app, lastConfigChangeAt } = current(record);
  const wanted = record.removed ? 0 : app.instances;
  const staying = record.instances.filter(({ killing, goal }) => !killing && goal === "Running");
  if (wanted === 0) return { kill: staying, start: 0 };
  const isOld = ({ version }: Instance) => version < lastConfigChangeAt;
  const there = staying.filter((instance) => !isInactive(app, instance));
  const old = there.filter((instance) => isOld(instance) && isLive(instance));
  const fresh = there.filter((instance) => !isOld(instance));
  const leaving = record.instances.filter((instance) => isLive(instance) && !staying.includes(instance));
  const { kill, start } = upgradeSteps(
    {
      wanted,
      old: old.length,
      oldReady: old.filter((instance) => isWell(instance, definitionOf(record, instance))).length,
      fresh: fresh.length,
      newReady: fresh.filter((instance) => isReady(instance, definitionOf(record, instance))).length,
      oldLeaving: leaving.filter(isOld).length,
      newLeaving: leaving.filter((instance) => !isOld(instance)).length,
    },
    app.upgradeStrategy,
  );
  // Nobody waits for an old one on a lost host: it would only have to go when it is back.
  const lost = staying.filter((instance) => isOld(instance) && isInactive(app, instance));
  return {
    kill: [...lost, ...firstToGo(old, kill, record), ...firstToGo(fresh, fresh.length - wanted, record)],
    start,
  };
}

/** Those that go first, by the application's kill selection; those that are not ready before all others. */
function firstToGo(instances: readonly Instance[], count: number, record: AppRecord): Instance[] {
  if (count <= 0) return [];
  const youngest = current(record).app.killSelection === "YOUNGEST_FIRST" ? -1 : 1;
  const ready = (instance: Instance) => Number(isReady(instance, definitionOf(record, instance)));
  return instances
    .toSorted((a, b) => ready(a) - ready(b) || youngest * (a.createdAt < b.createdAt ? -1 : 1))
    .slice(0, count);
}

/** Lost for longer than the application's strategy waits: another one takes its place. */
export function isInactive({ unreachableStrategy }: AppDefinition, { state, unreachableSince }: Instance): boolean {
  if (state !== "TASK_UNREACHABLE" || unreachableStrategy === "disabled" || unreachableSince === undefined)
    return false;
  return Date.now() - Date.parse(unreachableSince) >= unreachableStrategy.inactiveAfterSeconds * 1000;
}
