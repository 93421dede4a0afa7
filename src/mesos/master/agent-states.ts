import fs from "node:fs";
import { replaceFile } from "../../lib/atomic-file.ts";
import { SimError } from "../../lib/errors.ts";
import { KeyedMutex } from "../../lib/mutex.ts";
import type { AgentState } from "../agents-api.ts";

/** What an agent is to be, and since when (RFC 3339). */
export interface KnownState {
  readonly state: AgentState;
  readonly since: string;
}

/** Which agents are to run and which are not: `agents.json`, which outlives the daemon. */
export class AgentStates {
  readonly #file: string;
  readonly #writes = new KeyedMutex();
  readonly #since = new Date().toISOString();
  #states: Readonly<Record<string, KnownState>>;

  /** Throws state_corrupt. */
  constructor(file: string) {
    this.#file = file;
    this.#states = read(file);
  }

  of(agent: string): KnownState {
    return this.#states[agent] ?? { state: "running", since: this.#since };
  }

  /** An agent is in the new state when that is on disk, and not before. */
  set(agent: string, state: AgentState): Promise<void> {
    return this.#writes.run("", async () => {
      const states = { ...this.#states, [agent]: { state, since: new Date().toISOString() } };
      await replaceFile(this.#file, JSON.stringify(states));
      this.#states = states;
    });
  }
}

function read(file: string): Record<string, KnownState> {
  if (!fs.existsSync(file)) return {};
  try {
    return JSON.parse(fs.readFileSync(file, "utf8")) as Record<string, KnownState>;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new SimError("state_corrupt", `${file} cannot be read (${why}): remove it, and all agents are started`);
  }
}
