import fs from "node:fs";

/*
 * The machine's Docker engine, as far as all agents share it. Its client is loaded when there is one: not every machine has
 * Docker.
 */

/** An engine that takes longer to say a word is none to run something on (ms). */
const ANSWER_MS = 2_000;
/** An engine that takes longer over a list is none (ms). */
const LIST_MS = 10_000;

/** On every container of ours: whose it is. */
export const AGENT_LABEL = "rexray-sim.agent";

/** Whether there is the socket of a Docker engine, as its clients find it. */
function hasEngineSocket(): boolean {
  const host = process.env["DOCKER_HOST"] ?? "unix:///var/run/docker.sock";
  return !host.startsWith("unix://") || fs.existsSync(host.slice("unix://".length));
}

/** Whether it does, now. */
export async function engineAnswers(): Promise<boolean> {
  if (!hasEngineSocket()) return false;
  try {
    const { default: Docker } = await import("dockerode");
    await new Docker({ timeout: ANSWER_MS }).ping();
    return true;
  } catch {
    return false;
  }
}

/** Removes at once what an agent has there: its host is lost. An engine that does not answer runs nothing. */
export async function killDockerContainers(agent: string): Promise<void> {
  if (!hasEngineSocket()) return;
  const { default: Docker } = await import("dockerode");
  const docker = new Docker({ timeout: LIST_MS });
  const filters = { label: [`${AGENT_LABEL}=${agent}`] };
  const found = await docker.listContainers({ all: true, filters }).catch(() => []);
  await Promise.allSettled(found.map(({ Id }) => docker.getContainer(Id).remove({ force: true })));
}
