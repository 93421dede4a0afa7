import type { PortProbe } from "../../lib/probe.ts";
import type { TaskHealthCheck } from "../task.ts";

/** What a health check needs of the container that it looks at. */
export interface HealthContext {
  /** Runs a shell command inside; answers what is wrong, undefined when its status is 0. */
  readonly run: (command: string, timeoutMs: number) => Promise<string | undefined>;
  /** Looks at a port of the network that the container is in. */
  readonly probe: (probe: PortProbe) => Promise<string | undefined>;
  /** After a check that says something new. */
  readonly tell: (healthy: boolean, why: string | undefined) => void;
  /** There were too many failures. */
  readonly kill: (why: string) => void;
}

/**
 * The health check of one task (spec/marathon.md 6.7): failures within the grace period count only after a first success; the
 * last of the consecutive failures that are allowed kills the task. Answers how to end it.
 */
export function followHealth(check: TaskHealthCheck, context: HealthContext): () => void {
  const { tell, kill } = context;
  const began = performance.now();
  const graceMs = (check.delaySeconds + check.gracePeriodSeconds) * 1000;
  const timeoutMs = Math.max(1, check.timeoutSeconds) * 1000;
  let known: boolean | undefined;
  let failures = 0;
  let ended = false;
  let timer: NodeJS.Timeout;
  const look = async () => {
    const why = await ask(check, timeoutMs, context);
    if (ended) return;
    const forgiven = why !== undefined && known === undefined && performance.now() - began < graceMs;
    if (!forgiven) {
      failures = why === undefined ? 0 : failures + 1;
      const healthy = why === undefined;
      if (healthy !== known) tell(healthy, why);
      known = healthy;
      if (why !== undefined && check.maxConsecutiveFailures > 0 && failures >= check.maxConsecutiveFailures) {
        kill(why);
        return;
      }
    }
    timer = setTimeout(() => void look(), Math.max(1, check.intervalSeconds) * 1000);
  };
  timer = setTimeout(() => void look(), check.delaySeconds * 1000);
  return () => {
    ended = true;
    clearTimeout(timer);
  };
}

function ask(
  { probe }: TaskHealthCheck,
  timeoutMs: number,
  context: Pick<HealthContext, "run" | "probe">,
): Promise<string | undefined> {
  return "command" in probe ? context.run(probe.command, timeoutMs) : context.probe({ ...probe, timeoutMs });
}
