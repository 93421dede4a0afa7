import http from "node:http";
import type { AgentTask, TaskInfo } from "../task.ts";

/** Talks to one agent's process. Every method throws when nobody answers. */
export class AgentClient {
  constructor(readonly socket: string) {}

  tasks(after: number, waitMs: number): Promise<{ seq: number; tasks: AgentTask[] }> {
    return this.#call("GET", `/tasks?after=${after}&wait=${waitMs}`, undefined, waitMs + 10_000);
  }

  async launch(info: TaskInfo): Promise<void> {
    await this.#call("POST", "/tasks", info);
  }

  async kill(taskId: string): Promise<void> {
    await this.#call("POST", `/tasks/${encodeURIComponent(taskId)}/kill`, {});
  }

  /** Answers when every task has ended and every volume was given back; the agent ends then. */
  async drain(): Promise<void> {
    await this.#call("POST", "/drain", {}, 120_000);
  }

  #call<T>(method: string, path: string, body?: unknown, timeout = 10_000): Promise<T> {
    return new Promise((resolve, reject) => {
      const headers = { "content-type": "application/json" };
      const request = http.request({ socketPath: this.socket, path, method, headers, timeout }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (part: string) => (text += part));
        response.once("end", () => {
          if (response.statusCode === 200) resolve(JSON.parse(text) as T);
          else reject(new Error(`the agent answered ${response.statusCode}: ${text}`));
        });
        response.once("error", reject);
      });
      request.once("timeout", () => request.destroy(new Error("the agent does not answer")));
      request.once("error", reject).end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
}
