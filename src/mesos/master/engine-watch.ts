import { engineAnswers } from "../host/docker-engine.ts";

const LOOK_MS = 5_000;

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
