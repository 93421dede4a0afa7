import { type AppChange, onlyScaled } from "./deployment.ts";
import { addVersion, current, newRecord, type Store } from "./store.ts";

/** Puts a change into an application's record. What of it has been started is another matter. */
export function recordChange({ apps }: Store, { id, before, after, restart }: AppChange, version: string): void {
  const record = apps.get(id);
  if (after === null) {
    if (record !== undefined) record.removed = true;
    return;
  }
  const last = record === undefined ? undefined : current(record);
  const scaled = before !== null && restart !== true && onlyScaled(before, after);
  const next = {
    version,
    app: after,
    lastScalingAt: version,
    lastConfigChangeAt: scaled && last !== undefined ? last.lastConfigChangeAt : version,
  };
  if (record === undefined) apps.set(id, newRecord(next));
  else {
    addVersion(record, next);
    record.removed = false;
    if (!scaled) record.backoff = { delayMs: 0, until: 0 };
  }
}

/**
 * Carries out what deployments say that a former process has begun and not put into its applications' records. Answers the ids of
 * those.
 */
export function redo(store: Store): string[] {
  return store.deployments.flatMap(({ version, before, after = {}, restart = false }) =>
    Object.entries(after).flatMap(([id, app]) => {
      const record = store.apps.get(id);
      const isThere =
        app === null
          ? record === undefined || record.removed
          : record !== undefined && !record.removed && current(record).version >= version;
      if (isThere) return [];
      recordChange(store, { id, before: before[id] ?? null, after: app, restart }, version);
      return [id];
    }),
  );
}
