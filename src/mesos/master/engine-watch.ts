import fs from "node:fs";

const LOOK_MS = 5_000;
/** An engine that takes longer to say a word is none to run something on. */
const ANSWER_MS = 2_000;

/** Whether the machine's Docker engine answers: without one, DOCKER containers wait. */
export class EngineWatch {
  #answers = false;
  #timer: NodeJS.Timeout | undefined;

  get answers(): boolean {
    return this.#answers;
  }

  /** Returns when it is known; looks again from time to time. */
  async start(changed: () => void): Promise<void> {
    this.#answers = await engineAnswers();
    this.#timer = setInterval(async () => {
      const now = await engineAnswers();
      if (now === this.#answers) return;
      this.#answers = now;
      changed();
    }, LOOK_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

/** Whether there is the socket of a Docker engine, as its clients find it. */
export function hasEngineSocket(): boolean {
  const host = process.env["DOCKER_HOST"] ?? "unix:///var/run/docker.sock";
  return !host.startsWith("unix://") || fs.existsSync(host.slice("unix://".length));
}

async function engineAnswers(): Promise<boolean> {
  if (!hasEngineSocket()) return false;
  try {
    const { default: Docker } = await import("dockerode");
    await new Docker({ timeout: ANSWER_MS }).ping();
    return true;
  } catch {
    return false;
  }
}
