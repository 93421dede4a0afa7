import { execFile } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import type { Readable } from "node:stream";
import Docker from "dockerode";
import { type PortProbe, probePort } from "../../lib/probe.ts";
import type { AgentConfig, DockerInfo, TaskInfo } from "../task.ts";
import { containerOptions } from "./docker-options.ts";
import { openOutput } from "./sandbox.ts";

/** How long a registry may keep a container from the image that is here (ms). */
const PULL_MS = 60_000;
/**
 * DOCKER containers of an agent, on the machine's Docker engine (spec/marathon.md 3.7, 7). Volumes go through the engine and the
 * volume driver that it knows by itself, as with Mesos: dvdcli has no part in it.
 */
export class DockerContainers {
  readonly #docker = new Docker();
  readonly #agent: string;
  /** mesos-probe.js */
  readonly #prober: string;
  readonly #log: (message: string) => void;

  constructor({ name, executor }: Pick<AgentConfig, "name" | "executor">, log: (message: string) => void) {
    this.#agent = name;
    this.#prober = path.join(path.dirname(executor), "mesos-probe.js");
    this.#log = log;
  }

  /**
   * Answers the container's own addresses, if it has any. Throws what becomes the task's failure. `ended` is called with the exit
   * status; `signal` breaks off a pull.
   */
  async start(
    info: TaskInfo & { docker: DockerInfo },
    { containerId, sandbox, signal }: { containerId: string; sandbox: string; signal: AbortSignal },
    ended: (status: number) => void,
  ): Promise<readonly string[]> {
    const { image, forcePullImage } = info.docker;
    const local = await this.#docker
      .getImage(image)
      .inspect()
      .then(
        () => true,
        () => false,
      );
    if (!local || forcePullImage) await this.#pull(image, local, signal);
    signal.throwIfAborted();
    const container = await this.#docker.createContainer(
      containerOptions({ info, name: nameOf(containerId), sandbox, agent: this.#agent }),
    );
    try {
      await container.start();
    } catch (error) {
      await container.remove({ force: true }).catch(() => undefined);
      throw error;
    }
    // It may have ended, and is removed then.
    const networks = await container.inspect().then(
      ({ NetworkSettings }) => NetworkSettings.Networks,
      () => ({}),
    );
    await this.#follow(container, sandbox, ended);
    return addressesOf(networks);
  }

  /** Watches a container that another agent process had started. */
  async adopt(containerId: string, sandbox: string, ended: (status: number) => void): Promise<void> {
    await this.#follow(this.#docker.getContainer(nameOf(containerId)), sandbox, ended, Math.floor(Date.now() / 1000));
  }

  /** SIGTERM, and SIGKILL after the grace period. */
  async stop(containerId: string, graceSeconds: number): Promise<void> {
    await this.#docker.getContainer(nameOf(containerId)).stop({ t: graceSeconds });
  }

  /** Runs a shell command in a container; answers what is wrong, undefined when its status is 0. */
  async run(containerId: string, command: string, timeoutMs: number): Promise<string | undefined> {
    try {
      const container = this.#docker.getContainer(nameOf(containerId));
      const exec = await container.exec({ Cmd: ["/bin/sh", "-c", command], AttachStdout: true, AttachStderr: true });
      const stream = await exec.start({});
      const inTime = await new Promise<boolean>((resolve, reject) => {
        const timer = setTimeout(() => resolve(false), timeoutMs);
        stream.once("end", () => {
          clearTimeout(timer);
          resolve(true);
        });
        stream.once("error", reject);
        stream.resume();
      });
      stream.destroy();
      if (!inTime) return "Command timed out";
      const { ExitCode } = await exec.inspect();
      return ExitCode === 0 ? undefined : `Command exited with status ${ExitCode}`;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  /** Looks at a port of the network that a container is in; answers what is wrong, undefined when all is well. */
  async probe(containerId: string, probe: PortProbe): Promise<string | undefined> {
    const { HostConfig, State } = await this.#docker.getContainer(nameOf(containerId)).inspect();
    if (HostConfig.NetworkMode === "host") return probePort(probe);
    const words = [`--net=/proc/${State.Pid}/ns/net`, process.execPath, this.#prober, JSON.stringify(probe)];
    return new Promise((resolve) =>
      execFile("nsenter", words, (error, stdout, stderr) =>
        resolve(error === null ? undefined : stdout.trim() || stderr.trim()),
      ),
    );
  }

  async #pull(image: string, local: boolean, signal: AbortSignal): Promise<void> {
    try {
      await this.#pulled(image, local ? AbortSignal.any([signal, AbortSignal.timeout(PULL_MS)]) : signal);
    } catch (error) {
      if (!local || signal.aborted) throw error;
      // On a dev box the registry is often out of reach; the image that is here does.
      this.#log(
        `image ${image} cannot be pulled, the local one is used: ${error instanceof Error ? error.message : error}`,
      );
    }
  }

  #pulled(image: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const abort = () => reject(signal.reason);
      if (signal.aborted) return abort();
      signal.addEventListener("abort", abort, { once: true });
      this.#docker
        .pull(image)
        .then((stream) => {
          signal.addEventListener("abort", () => (stream as Readable).destroy(), { once: true });
          this.#docker.modem.followProgress(stream, (error) => (error === null ? resolve() : reject(error)));
        })
        .catch(reject);
      return undefined;
    });
  }

  async #follow(
    container: Docker.Container,
    sandbox: string,
    ended: (status: number) => void,
    since = 0,
  ): Promise<void> {
    const logs = await container.logs({ follow: true, stdout: true, stderr: true, since });
    const stream = (name: "stdout" | "stderr") => fs.createWriteStream("", { fd: openOutput(sandbox, name) });
    this.#docker.modem.demuxStream(logs, stream("stdout"), stream("stderr"));
    const end = async () => {
      const { StatusCode } = (await container.wait()) as { StatusCode: number };
      // Its volumes are free when it is gone; the status is known already.
      ended(StatusCode);
      await container.remove({ force: true });
    };
    end().catch((error: unknown) => {
      this.#log(`container ${container.id}: ${error instanceof Error ? error.message : error}`);
      ended(-1);
    });
  }
}

/** On the host's network, or on none, it has no address. */
export const addressesOf = (networks: Readonly<Record<string, { readonly IPAddress: string }>>): string[] =>
  Object.values(networks).flatMap(({ IPAddress }) => IPAddress || []);

const nameOf = (containerId: string) => `mesos-${containerId}`;
