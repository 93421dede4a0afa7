import { type Instance, isHealthy, isRunning } from "../scheduler/instance.ts";
import { type AppRecord, current, definitionOf } from "../scheduler/store.ts";

/** `embed=apps.taskStats`: counts and ages of an application's tasks, by what they were started with. None: left out. */
export function taskStats(record: AppRecord): Record<string, unknown> {
  const { lastScalingAt, lastConfigChangeAt } = current(record);
  const tasks = record.instances.filter(({ state }) => state !== "Scheduled");
  const parts: [string, Instance[]][] = [
    ["startedAfterLastScaling", tasks.filter(({ version }) => version >= lastScalingAt)],
    ["withLatestConfig", tasks.filter(({ version }) => version >= lastConfigChangeAt)],
    ["withOutdatedConfig", tasks.filter(({ version }) => version < lastConfigChangeAt)],
    ["totalSummary", tasks],
  ];
  return Object.fromEntries(
    parts.filter(([, some]) => some.length > 0).map(([name, some]) => [name, { stats: statsOf(record, some) }]),
  );
}

function statsOf(record: AppRecord, tasks: readonly Instance[]): Record<string, unknown> {
  const count = (is: (task: Instance) => boolean) => tasks.filter(is).length;
  const ages = tasks
    .flatMap(({ startedAt }) => (startedAt === undefined ? [] : [(Date.now() - Date.parse(startedAt)) / 1000]))
    .toSorted((a, b) => a - b);
  const averageSeconds = ages.reduce((sum, age) => sum + age, 0) / ages.length;
  return {
    counts: {
      staged: count(({ state }) => state === "TASK_STAGING"),
      running: count(isRunning),
      healthy: count((task) => task.health !== undefined && isHealthy(task, definitionOf(record, task))),
      unhealthy: count(({ health }) => Object.values(health ?? {}).some(({ alive }) => !alive)),
    },
    ...(ages.length === 0 ? {} : { lifeTime: { averageSeconds, medianSeconds: ages[Math.floor(ages.length / 2)] } }),
  };
}
