import http from "node:http";
import { runFiles } from "../lib/dirs.ts";
import { ERROR_CODES, type ErrorCode, errnoOf, SimError } from "../lib/errors.ts";
import type { AppOverview } from "../marathon/overview.ts";
import type { AgentStatus } from "../mesos/agents-api.ts";
import type {
  DeviceRequest,
  FaultKind,
  FaultRequest,
  FaultSpec,
  LimitRequest,
  ScanResult,
  SdsRequest,
} from "../scaleio/cluster-api.ts";
import type { SystemEvent } from "../scaleio/model.ts";
import type { DownReport, StatusReport, VolumeInspection } from "./report.ts";

/** Questions are answered from memory; a daemon that needs longer than this (ms) is in trouble, and the caller should know. */
const ANSWER_LIMIT = 15_000;
/** Freezing a busy file system writes out what the page cache holds (ms). */
const CHANGE_LIMIT = 120_000;
/** A scan reads both copies of everything (ms). */
const SCAN_LIMIT = 3_600_000;
/** Unmounting flushes what the page cache holds (ms). */
const DOWN_LIMIT = 300_000;

/** No daemon serves the run directory. The command line tells it from other failures by its exit status. */
export class NoDaemonError extends SimError {
  constructor(runDir: string, cause: unknown) {
    super("unavailable", `no rexray-sim runs with run directory ${runDir}: start it with \`rexray-sim up\``, { cause });
  }
}

/** Talks to the daemon of a run directory. Every method throws what the daemon answered, NoDaemonError, or timed_out. */
export class AdminClient {
  constructor(readonly runDir: string) {}

  status(): Promise<StatusReport> {
    return this.#call("GET", "/status");
  }

  volume(name: string, options: { chunks: boolean }): Promise<VolumeInspection> {
    return this.#call("GET", `/volumes/${encodeURIComponent(name)}${options.chunks ? "?chunks=1" : ""}`);
  }

  /** `created`: it was not there before. */
  createVolume(name: string, options: Readonly<Record<string, string>>): Promise<{ created: boolean }> {
    return this.#call("POST", "/volumes", { name, options }, CHANGE_LIMIT);
  }

  async removeVolume(name: string): Promise<void> {
    await this.#call("DELETE", `/volumes/${encodeURIComponent(name)}`, undefined, CHANGE_LIMIT);
  }

  async snapshot(snapshots: readonly { volume: string; name: string }[]): Promise<void> {
    await this.#call("POST", "/snapshots", { snapshots }, CHANGE_LIMIT);
  }

  async resize(volume: string, sizeBytes: number): Promise<void> {
    await this.#call("POST", `/volumes/${encodeURIComponent(volume)}/resize`, { sizeBytes }, CHANGE_LIMIT);
  }

  async limit(volume: string, limits: LimitRequest): Promise<void> {
    await this.#call("POST", `/volumes/${encodeURIComponent(volume)}/limits`, limits);
  }

  scan(volume: string): Promise<ScanResult> {
    return this.#call("POST", `/volumes/${encodeURIComponent(volume)}/scan`, {}, SCAN_LIMIT);
  }

  async overwrite(volume: string, from: string): Promise<void> {
    await this.#call("POST", `/volumes/${encodeURIComponent(volume)}/overwrite`, { from }, CHANGE_LIMIT);
  }

  /** Orders of admin/app.ts: stop, start, maintenance, remove, abort-removal. */
  async sds(name: string, order: string): Promise<void> {
    await this.#call("POST", `/sds/${encodeURIComponent(name)}/${order}`);
  }

  async addSds(request: SdsRequest): Promise<void> {
    await this.#call("POST", "/sds", request);
  }

  async addDevice(sds: string, request: DeviceRequest): Promise<void> {
    await this.#call("POST", `/sds/${encodeURIComponent(sds)}/devices`, request);
  }

  async removeDevice(sds: string, device: string): Promise<void> {
    await this.#call("DELETE", `/sds/${encodeURIComponent(sds)}/devices/${encodeURIComponent(device)}`);
  }

  async clearDevice(sds: string, device: string): Promise<void> {
    await this.#call("POST", `/sds/${encodeURIComponent(sds)}/devices/${encodeURIComponent(device)}/clear`);
  }

  async resizeDevice(sds: string, device: string, sizeBytes: number): Promise<void> {
    const url = `/sds/${encodeURIComponent(sds)}/devices/${encodeURIComponent(device)}/resize`;
    await this.#call("POST", url, { sizeBytes });
  }

  apps(): Promise<AppOverview[]> {
    return this.#call("GET", "/apps");
  }

  agents(): Promise<AgentStatus[]> {
    return this.#call("GET", "/agents");
  }

  async orderAgent(agent: string, order: "stop" | "lose" | "restart"): Promise<void> {
    await this.#call("POST", `/agents/${encodeURIComponent(agent)}/${order}`, {}, DOWN_LIMIT);
  }

  /** Events after the one with this id; waits for the first one, at most so long (s, up to 10). */
  events(after: number, wait: number): Promise<SystemEvent[]> {
    return this.#call("GET", `/events?after=${after}&wait=${wait}`);
  }

  faults(): Promise<{ faults: FaultSpec[]; kinds: FaultKind[] }> {
    return this.#call("GET", "/faults");
  }

  addFault(request: FaultRequest): Promise<FaultSpec> {
    return this.#call("POST", "/faults", request);
  }

  async removeFault(name: string): Promise<void> {
    await this.#call("DELETE", `/faults/${encodeURIComponent(name)}`);
  }

  async resetFaults(): Promise<void> {
    await this.#call("DELETE", "/faults");
  }

  down(options: { force: boolean }): Promise<DownReport> {
    return this.#call("POST", "/down", options, DOWN_LIMIT);
  }

  async #call<T>(method: string, path: string, body?: unknown, limit = ANSWER_LIMIT): Promise<T> {
    const { status, text } = await this.#exchange(method, path, body, limit);
    const answer = JSON.parse(text) as T & { code?: string; message?: string };
    if (status === 200) return answer;
    const code = answer.code !== undefined && answer.code in ERROR_CODES ? (answer.code as ErrorCode) : "internal";
    throw new SimError(code, answer.message ?? text);
  }

  #exchange(method: string, path: string, body: unknown, limit: number): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const request = http.request({
        socketPath: runFiles(this.runDir).adminSocket,
        method,
        path,
        agent: false,
        headers: body === undefined ? {} : { "content-type": "application/json" },
        signal: AbortSignal.timeout(limit),
      });
      const fail = (error: Error) => reject(this.#explain(error, limit));
      request.once("error", fail);
      request.once("response", (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (part: string) => (text += part));
        response.once("error", fail);
        response.once("end", () => resolve({ status: response.statusCode ?? 0, text }));
      });
      request.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  #explain(error: Error, limit: number): SimError {
    switch (errnoOf(error)) {
      case "ENOENT":
      case "ECONNREFUSED":
      case "ECONNRESET":
        return new NoDaemonError(this.runDir, error);
      case "EACCES":
        return new SimError("host_failed", `the daemon of ${this.runDir} may be asked by its owner only: use sudo`, {
          cause: error,
        });
      case "ABORT_ERR":
        return new SimError(
          "timed_out",
          `the daemon of ${this.runDir} did not answer within ${limit / 1000} s: see its log, or stop it with \`kill\` and start it again`,
          { cause: error },
        );
      default:
        return new SimError("host_failed", `cannot ask the daemon of ${this.runDir}: ${error.message}`, {
          cause: error,
        });
    }
  }
}
