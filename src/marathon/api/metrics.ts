import type { Marathon } from "../marathon.ts";
import { isLive, isRunning } from "../scheduler/instance.ts";

/** What is counted now, by the names that Marathon has for it. */
function gauges(marathon: Marathon): Record<string, number> {
  const instances = [...marathon.store.apps.values()].flatMap((record) => record.instances);
  return {
    "marathon.apps.active.gauge": marathon.apps().length,
    "marathon.deployments.active.gauge": marathon.store.deployments.length,
    "marathon.groups.active.gauge": 1,
    "marathon.instances.running.gauge": instances.filter(isRunning).length,
    "marathon.instances.staged.gauge": instances.filter(({ state }) => state === "TASK_STAGING").length,
    "marathon.instances.launchqueue.gauge": instances.filter((one) => !isLive(one)).length,
    "marathon.uptime.gauge.seconds": process.uptime(),
  };
}

/** `/metrics`. */
export const metrics = (marathon: Marathon) => ({
  version: "4.0.0",
  gauges: Object.fromEntries(Object.entries(gauges(marathon)).map(([name, value]) => [name, { value }])),
  counters: {},
  histograms: {},
  meters: {},
  timers: {},
});

/** The same as text. */
export const prometheus = (marathon: Marathon): string =>
  Object.entries(gauges(marathon))
    .map(([name, value]) => {
      const key = name.replaceAll(".", "_");
      return `# TYPE ${key} gauge\n${key} ${value}\n`;
    })
    .join("");
