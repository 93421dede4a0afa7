import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import type { Test } from "tap";
import { removeLeaks } from "./leaks.ts";
import { output, type RunOptions, type RunResult, run } from "./run.ts";
import { tempDir } from "./temp-dir.ts";
import { waitFor } from "./wait.ts";

/** The image that every engine has: Debian's busybox, nothing else. */
export const IMAGE = "busybox:test";

/** Settings of an engine. */
export interface DockerOptions {
  /** Further flags of dockerd, as `--live-restore`. */
  readonly args?: readonly string[];
}

/**
 * A Docker engine of a test's own: own data, own socket, no network. It is the machine's real engine otherwise, and finds
 * plugins in /run/docker/plugins. Run containers with `--network none`.
 */
export class DockerEngine {
  /** Everything of the engine lies below it. */
  readonly dir = tempDir("docker");
  /** The Engine API. */
  readonly socket = path.join(this.dir, "docker.sock");
  /** What dockerd wrote. */
  readonly logFile = path.join(this.dir, "dockerd.log");
  /** For programs that find the engine by the environment, as docker-compose does. */
  readonly env: NodeJS.ProcessEnv = {
    ...process.env,
    DOCKER_HOST: `unix://${this.socket}`,
    DOCKER_CONFIG: path.join(this.dir, "cli"),
  };
  readonly #args: readonly string[];
  #process: ChildProcess | undefined;

  constructor(options: DockerOptions = {}) {
    this.#args = options.args ?? [];
  }

  /** Runs `docker ARGS` and answers however it ends. */
  run(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return run("docker", args, { ...options, env: { ...this.env, ...options.env } });
  }

  /** Runs `docker ARGS`, which must succeed, and returns what it printed, trimmed. */
  async docker(...args: readonly string[]): Promise<string> {
    return (await output("docker", args, { env: this.env })).trim();
  }

  /** Starts dockerd (again) and waits until it answers. */
  async start(): Promise<void> {
    const at = (name: string) => path.join(this.dir, name);
    // Not the machine's own settings, which may say anything. The key, of no use, would be made in /etc otherwise.
    fs.writeFileSync(at("daemon.json"), `${JSON.stringify({ "deprecated-key-path": at("key.json") })}\n`);
    const flags = ["--config-file", at("daemon.json"), "--data-root", at("data"), "--exec-root", at("exec")];
    const apart = [
      "--pidfile",
      at("docker.pid"),
      "--host",
      `unix://${this.socket}`,
      "--bridge=none",
      "--iptables=false",
    ];
    const log = fs.openSync(this.logFile, "a");
    // A containerd that is slow to end writes its stacks to the temporary directory.
    const env = { ...process.env, TMPDIR: this.dir };
    const dockerd = spawn("dockerd", [...flags, ...apart, ...this.#args], { stdio: ["ignore", log, log], env });
    fs.closeSync(log);
    this.#process = dockerd;
    await waitFor(
      async () => {
        if (dockerd.exitCode !== null) return "ended";
        return (await this.run(["info", "--format", "{{.ID}}"])).code === 0 && "ready";
      },
      { what: "dockerd to answer", deadline: 60_000, every: 100 },
    );
    if (dockerd.exitCode !== null) throw new Error(`dockerd ended with status ${dockerd.exitCode}:\n${this.log()}`);
  }

  /** Ends dockerd, by default cleanly, and waits until it is gone. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    const dockerd = this.#process;
    if (dockerd === undefined || dockerd.exitCode !== null || dockerd.signalCode !== null) return;
    dockerd.kill(signal);
    await waitFor(() => dockerd.exitCode !== null || dockerd.signalCode !== null, {
      what: `dockerd to end after ${signal}`,
      deadline: 60_000,
    });
    await this.#endOfContainerd();
  }

  /**
   * A killed dockerd takes containerd with it. Where init is slow to reap, the next dockerd would find the zombie by its
   * pid file and wait for it in vain.
   */
  async #endOfContainerd(): Promise<void> {
    const pidFile = path.join(this.dir, "exec/containerd/containerd.pid");
    if (!fs.existsSync(pidFile)) return;
    const status = `/proc/${fs.readFileSync(pidFile, "utf8").trim()}/status`;
    const ended = () => !fs.existsSync(status) || /^State:\s+[ZX]/m.test(fs.readFileSync(status, "utf8"));
    await waitFor(ended, { what: "containerd to end with dockerd" });
    fs.rmSync(pidFile, { force: true });
  }

  /** A new dockerd on the data of the last one, which is stopped or killed first. */
  async restart(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    await this.stop(signal);
    await this.start();
  }

  /** The end of what dockerd wrote, for messages. */
  log(): string {
    return fs.existsSync(this.logFile) ? fs.readFileSync(this.logFile, "utf8").split("\n").slice(-30).join("\n") : "";
  }

  /** Imports {@link IMAGE}, under another name with programs of this machine and the libraries that they need. */
  async importImage({
    name = IMAGE,
    programs = [],
  }: {
    name?: string;
    programs?: readonly string[];
  } = {}): Promise<void> {
    const root = path.join(this.dir, "image");
    fs.mkdirSync(path.join(root, "bin"), { recursive: true });
    for (const dir of ["data", "proc", "sys", "dev", "etc"]) fs.mkdirSync(path.join(root, dir));
    fs.mkdirSync(path.join(root, "tmp"), { mode: 0o1777 });
    // Where other images have their programs.
    fs.mkdirSync(path.join(root, "usr"));
    fs.symlinkSync("../bin", path.join(root, "usr/bin"));
    fs.copyFileSync("/bin/busybox", path.join(root, "bin/busybox"));
    const applets = (await output("/bin/busybox", ["--list"]))
      .split("\n")
      .filter((applet) => applet !== "" && applet !== "busybox");
    for (const applet of applets) fs.symlinkSync("busybox", path.join(root, "bin", applet));
    for (const program of programs) {
      fs.copyFileSync(program, path.join(root, "bin", path.basename(program)));
      for (const [library] of (await output("ldd", [program])).matchAll(/\/\S+/g)) {
        fs.mkdirSync(path.join(root, path.dirname(library)), { recursive: true });
        fs.copyFileSync(library, path.join(root, library));
      }
    }
    const tarball = path.join(this.dir, "image.tar");
    await output("tar", ["-C", root, "-cf", tarball, "."]);
    await this.docker("import", "--change", "ENV PATH=/bin", "--change", 'CMD ["sh"]', tarball, name);
    fs.rmSync(root, { recursive: true });
    fs.rmSync(tarball);
  }

  /** Shims listen below /run/containerd whatever the engine's directories are; a killed one leaves its socket there. */
  #shimSockets(): string[] {
    const tasks = path.join(this.dir, "exec/containerd/daemon/io.containerd.runtime.v2.task/moby");
    if (!fs.existsSync(tasks)) return [];
    const files = fs.readdirSync(tasks).map((id) => path.join(tasks, id, "address"));
    return files
      .filter((file) => fs.existsSync(file))
      .map((file) =>
        fs
          .readFileSync(file, "utf8")
          .replace(/^unix:\/\//, "")
          .trim(),
      );
  }

  /** Ends the engine, its containers and all that is left of either. */
  async destroy(): Promise<void> {
    if (this.#process?.exitCode === null && this.#process.signalCode === null) {
      const containers = (await this.run(["ps", "--all", "--quiet"])).stdout.split("\n").filter(Boolean);
      if (containers.length > 0) await this.run(["rm", "--force", ...containers]);
      await this.stop().catch(() => this.stop("SIGKILL"));
    }
    // After a kill: containerd, the shims and their mounts. They are the engine's, not the product's.
    removeLeaks({ dir: this.dir });
    for (const file of this.#shimSockets()) fs.rmSync(file, { force: true });
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}

/**
 * Starts an engine with {@link IMAGE} that lasts as long as the test: best one per file, on its top level. Start it after
 * the instances whose volumes its containers use: what was started last is ended first.
 */
export async function startDocker(t: Test, options: DockerOptions = {}): Promise<DockerEngine> {
  const engine = new DockerEngine(options);
  t.teardown(() => engine.destroy());
  await engine.start();
  await engine.importImage();
  return engine;
}
