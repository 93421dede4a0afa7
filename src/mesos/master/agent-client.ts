import http from "node:http";
import type { AgentTask, TaskInfo } from "../task.ts";

/** How long an agent may take over an order (ms). */
const ANSWER_MS = 10_000;

/** Talks to one agent's process. Every method throws when nobody answers. */
export class AgentClient {
  constructor(readonly socket: string) {}

  /** @param patience how much longer than `waitMs` the answer may take (ms) */
  tasks(after: number, waitMs: number, patience = ANSWER_MS): Promise<{ seq: number; tasks: AgentTask[] }> {
    return this.#call("GET", `/tasks?after=${after}&wait=${waitMs}`, { limit: waitMs + patience });
  }

  async launch(info: TaskInfo): Promise<void> {
    await this.#call("POST", "/tasks", { body: info, limit: ANSWER_MS });
  }

  async kill(taskId: string): Promise<void> {
    await this.#call("POST", `/tasks/${encodeURIComponent(taskId)}/kill`, { body: {}, limit: ANSWER_MS });
  }

  /**
   * Answers all tasks when every one has ended and every volume was given back, however long that takes: grace periods are
   * its users' to choose. The agent ends then.
   */
  async drain(signal?: AbortSignal): Promise<readonly AgentTask[]> {
    const { tasks } = await this.#call<{ tasks: AgentTask[] }>("POST", "/drain", { body: {}, signal });
    return tasks;
  }

  #call<T>(
    method: string,
    path: string,
    { body, limit, signal }: { body?: unknown; limit?: number; signal?: AbortSignal | undefined },
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const options = {
        socketPath: this.socket,
        path,
        method,
        headers: { "content-type": "application/json" },
        ...(limit === undefined ? {} : { timeout: limit }),
        ...(signal === undefined ? {} : { signal }),
      };
      const request = http.request(options, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (part: string) => (text += part));
        response.once("end", () => {
          if (response.statusCode === 200) resolve(decode<T>(text));
          else reject(new Error(`the agent answered ${response.statusCode}: ${text}`));
        });
        response.once("error", reject);
      });
      request.once("timeout", () => request.destroy(new Error("the agent does not answer")));
      request.once("error", reject).end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
}

/** In a promise of its own: what cannot be read is this call's failure. */
const decode = async <T>(text: string): Promise<T> => JSON.parse(text) as T;
