import { setTimeout as pause } from "node:timers/promises";
import { type AgentTask, isTerminal } from "../task.ts";
import type { AgentClient } from "./agent-client.ts";

/** Ended tasks that are remembered, as Mesos' `--max_completed_tasks_per_framework`. */
const MOST_ENDED = 1000;
/** An idle agent is asked this often, and has this long to answer (ms); less where its time-out is short. */
const WAIT_MS = 10_000;
/** One that does not answer is asked again, and at first started again, after this (ms). */
const RETRY_MS = 200;
/** A process that ends again and again is started less and less often, up to this (ms). */
const LONGEST_REVIVAL_MS = 5_000;

/** What is done about what an agent says. */
export interface EarOptions {
  readonly client: Pick<AgentClient, "tasks">;
  /** As long as it may be silent before it is taken for unreachable (ms). */
  readonly timeoutMs: number;
  /** A task has changed; told again after every start of the daemon. */
  readonly task: (task: AgentTask) => void;
  /** All that the agent knows has been told, for the first time or after it was away. */
  readonly known: (taskIds: ReadonlySet<string>) => Promise<void>;
  /** It has been silent for too long; told once, until it is heard again. */
  readonly silent: () => Promise<void>;
  /** Nobody answers: have its process started if there is none. */
  readonly revive: () => Promise<void>;
  readonly log: (message: string) => void;
}

/** Listens to one agent, as long as somebody wants to hear of it. */
export class Ear {
  readonly #options: EarOptions;
  /** As the agent has told them. */
  readonly #tasks = new Map<string, AgentTask>();
  /** Which of the loops that were begun is the one that counts: one that waits for an answer cannot be called back. */
  #loop = 0;
  #listens = false;

  constructor(options: EarOptions) {
    this.#options = options;
  }

  /** All that it has told of; of those that have ended only the last ones. */
  get tasks(): readonly AgentTask[] {
    return [...this.#tasks.values()];
  }

  get listens(): boolean {
    return this.#listens;
  }

  /** Begins anew. */
  listen(): void {
    this.#listens = true;
    void this.#listen(++this.#loop);
  }

  stop(): void {
    this.#listens = false;
    this.#loop++;
  }

  /** Takes down what an agent has told otherwise. */
  note(tasks: readonly AgentTask[]): void {
    for (const task of tasks) this.#note(task);
  }

  async #listen(mine: number): Promise<void> {
    const { client, timeoutMs, task: tell } = this.#options;
    const patience = Math.min(WAIT_MS, timeoutMs / 2);
    const given = () => this.#loop !== mine;
    let [seq, heard, silent, delay, revival] = [0, performance.now(), false, RETRY_MS, 0];
    while (!given()) {
      let answer: { seq: number; tasks: AgentTask[] };
      try {
        answer = await client.tasks(seq, seq === 0 ? 0 : patience, patience);
      } catch {
        if (given()) return;
        seq = 0;
        if (!silent && performance.now() - heard >= timeoutMs) {
          silent = true;
          await this.#guarded(() => this.#options.silent());
        }
        if (performance.now() >= revival) {
          await this.#guarded(() => this.#options.revive());
          revival = performance.now() + delay;
          delay = Math.min(LONGEST_REVIVAL_MS, delay * 2);
        }
        await pause(RETRY_MS);
        continue;
      }
      if (given()) return;
      [heard, silent, delay, revival] = [performance.now(), false, RETRY_MS, 0];
      if (seq === 0) this.#tasks.clear();
      for (const task of answer.tasks) {
        this.#note(task);
        // One that the framework cannot take must neither be told for ever nor keep the others from it.
        await this.#guarded(async () => tell(task));
      }
      const ids = new Set(answer.tasks.map(({ info }) => info.taskId));
      if (seq === 0) await this.#guarded(() => this.#options.known(ids));
      seq = Math.max(answer.seq, 1);
    }
  }

  /** Nothing that goes wrong here may end the daemon, which serves the machine's volumes too. */
  async #guarded(task: () => Promise<void>): Promise<void> {
    try {
      await task();
    } catch (error) {
      this.#options.log(error instanceof Error ? (error.stack ?? error.message) : String(error));
    }
  }

  #note(task: AgentTask): void {
    // Those that changed last come last.
    this.#tasks.delete(task.info.taskId);
    this.#tasks.set(task.info.taskId, task);
    if (this.#tasks.size <= MOST_ENDED) return;
    const ended = this.tasks.filter(({ status }) => isTerminal(status.state));
    for (const { info } of ended.slice(0, Math.max(0, ended.length - MOST_ENDED))) this.#tasks.delete(info.taskId);
  }
}
