import { Marathon } from "../../src/marathon/marathon.ts";
import type { Agents } from "../../src/mesos/master/agents.ts";
import { FakeAgents } from "../../test/marathon/fake-agents.ts";
import { dir } from "./tools.ts";

const SAMPLES = 100;
/** Until V8 has compiled what is measured. */
const WARM_UP = 100;
const APP = { cmd: "exec sleep 100000", cpus: 0.1, mem: 16, portDefinitions: [] };

/**
 * CPU milliseconds from one application's definition to its running, and to its being gone again, in Marathon alone: its agents
 * have no processes. One number for each count of other applications that run meanwhile; counts rise.
 */
export async function schedulerCost(counts: readonly number[]): Promise<number[]> {
  const agents = new FakeAgents() as unknown as Agents;
  const marathon = new Marathon({ stateDir: `${dir}/scheduler`, agents, externalVolumes: true, log: () => undefined });
  await marathon.start();
  const ended = new Set<unknown>();
  let wake = () => {};
  marathon.events.listen(({ eventType, ...event }) => {
    if (eventType !== "deployment_success") return;
    ended.add(event["id"]);
    wake();
  });
  const change = async (id: string, there: boolean) => {
    const after = () => (there ? marathon.changes.define(id, APP, undefined) : null);
    const { deploymentId } = await marathon.changes.make(() => [{ id, after: after() }], { force: false });
    while (!ended.has(deploymentId)) await new Promise<void>((resolve) => (wake = resolve));
  };
  const cycles = async (count: number) => {
    for (let i = 0; i < count; i++) for (const there of [true, false]) await change("/one", there);
  };
  const costs: number[] = [];
  let made = 0;
  await cycles(WARM_UP);
  for (const count of counts) {
    while (made < count) await change(`/other${made++}`, true);
    const before = process.cpuUsage();
    await cycles(SAMPLES);
    const { user, system } = process.cpuUsage(before);
    costs.push((user + system) / 1000 / SAMPLES);
  }
  await marathon.close({ drain: false });
  return costs;
}
