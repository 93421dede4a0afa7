import { spawn } from "node:child_process";

/** How a program ended and what it wrote. */
export interface RunResult {
  /** Exit status; -1 when a signal ended it. */
  readonly code: number;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** How to run a program. */
export interface RunOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** Standard input; none when absent. */
  readonly input?: string | Uint8Array;
  /** Milliseconds until it is killed; 120 s unless told. */
  readonly timeout?: number;
  readonly cwd?: string;
}

/** Runs a program to its end, whatever that is. Throws when it cannot be started. */
export function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const { env = process.env, input, timeout = 120_000, cwd } = options;
  return new Promise((resolve, reject) => {
    const stdin = input === undefined ? "ignore" : "pipe";
    const child = spawn(program, args, { stdio: [stdin, "pipe", "pipe"], env, timeout, killSignal: "SIGKILL", cwd });
    let stdout = "";
    let stderr = "";
    child.stdout?.setEncoding("utf8").on("data", (part: string) => (stdout += part));
    child.stderr?.setEncoding("utf8").on("data", (part: string) => (stderr += part));
    // A program that does not read its input may be gone before it is written.
    child.stdin?.on("error", () => undefined).end(input);
    child.once("error", reject);
    child.once("close", (code, signal) => resolve({ code: code ?? -1, signal, stdout, stderr }));
  });
}

/** Runs a program that must succeed and returns what it wrote to standard output. */
export async function output(program: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, signal, stdout, stderr } = await run(program, args, options);
  if (code === 0) return stdout;
  throw new Error(`${[program, ...args].join(" ")} ended with ${signal ?? `status ${code}`}\n${stdout}${stderr}`);
}
