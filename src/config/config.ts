import fs from "node:fs";
import path from "node:path";
import { isMap, isScalar, LineCounter, type Node, type Pair, parseDocument, visit } from "yaml";
import { errnoOf, SimError } from "../lib/errors.ts";
import { realPath } from "../lib/real-path.ts";
import { DEAD, KEYS, type Key, operation, variableOf, WITHOUT_EFFECT } from "./keys.ts";
import { expandSimulator, type SimulatorConfig, simulatorSchema } from "./simulator.ts";
import { nearest, readValue } from "./values.ts";

/** The whole configuration, defaults filled in. */
export interface Config {
  readonly logLevel: string;
  readonly volumes: {
    readonly createDisable: boolean;
    readonly createImplicit: boolean;
    readonly defaults: {
      readonly sizeBytes: number;
      readonly fsType: string;
      readonly type: string;
      readonly iops: number;
      readonly thick: boolean;
    };
    readonly mountPath: string;
    readonly rootPath: string;
    readonly fileMode: number;
    readonly preempt: boolean;
    readonly retryCount: number;
    readonly retryWaitMs: number;
    readonly ignoreUsedCount: boolean;
    readonly removeDisable: boolean;
  };
  readonly simulator: SimulatorConfig;
}

export interface ConfigSource {
  /** The file to read. */
  readonly file: string;
  /** Whether somebody asked for that file: then it has to be there. */
  readonly required: boolean;
  readonly env: NodeJS.ProcessEnv;
  readonly stateDir: string;
}

/**
 * Reads the configuration: environment over file over default (spec/rexray.md 2.1), keys in any case, `$VAR` replaced.
 * Throws invalid_argument that lists every problem with its line. Warnings are about keys that do nothing.
 */
export function loadConfig({ file, required, env, stateDir }: ConfigSource): { config: Config; warnings: string[] } {
  const reader = new Reader(file, env);
  reader.read(readText(file, required));
  reader.readEnvironment();
  const section = simulatorSchema.safeParse(withEnvironment(reader.simulator, env));
  if (!section.success) for (const issue of section.error.issues) reader.problemInSimulator(issue);
  const expanded = section.success ? expandSimulator(section.data, stateDir) : undefined;
  const problems = [...reader.problems, ...(expanded?.problems ?? [])];
  const value = <K extends Key>(key: K) =>
    (reader.values.get(key) ?? KEYS[key].fallback) as Widen<(typeof KEYS)[K]["fallback"]>;
  const fsType = value(operation("create.default.fstype"));
  if (!["ext4", "xfs"].includes(fsType))
    problems.push(`${operation("create.default.fsType")}: file system "${fsType}" is not supported: use ext4 or xfs`);
  const provisioning = value("scaleio.thinorthick");
  if (!/^(thin|thick)provisioned$/i.test(provisioning))
    problems.push(`scaleio.thinOrThick: "${provisioning}" is neither ThinProvisioned nor ThickProvisioned`);
  if (problems.length > 0 || expanded === undefined) {
    throw new SimError(
      "invalid_argument",
      `the configuration is not right:\n${problems.map((problem) => `  ${problem}`).join("\n")}`,
    );
  }
  return {
    warnings: [...reader.warnings, ...(reader.hasPassword ? openToOthers(file) : [])],
    config: {
      logLevel: value("rexray.loglevel"),
      volumes: {
        createDisable: value(operation("create.disable")),
        createImplicit: value(operation("create.implicit")),
        defaults: {
          sizeBytes: value(operation("create.default.size")),
          fsType,
          type: value(operation("create.default.type")),
          iops: value(operation("create.default.iops")),
          thick: /^thick/i.test(provisioning),
        },
        mountPath: realPath(value(operation("mount.path")) || path.join(stateDir, "volumes")),
        rootPath: value(operation("mount.rootpath")),
        fileMode: value("linux.volume.filemode"),
        preempt: value(operation("mount.preempt")),
        retryCount: value(operation("mount.retrycount")),
        retryWaitMs: value(operation("mount.retrywait")),
        ignoreUsedCount: value(operation("unmount.ignoreusedcount")),
        removeDisable: value(operation("remove.disable")),
      },
      simulator: expanded.simulator,
    },
  };
}

type Widen<T> = T extends boolean ? boolean : T extends number ? number : string;

function readText(file: string, required: boolean): string {
  try {
    return fs.readFileSync(file, "utf8");
  } catch (error) {
    if (errnoOf(error) === "ENOENT" && !required) return "";
    throw new SimError(
      "invalid_argument",
      `the configuration file ${file} cannot be read (${errnoOf(error)}): name another with --config`,
      { cause: error },
    );
  }
}

/** Walks the file's tree, so that every complaint has a line. */
class Reader {
  readonly values = new Map<Key, string | number | boolean>();
  readonly problems: string[] = [];
  readonly warnings: string[] = [];
  readonly #file: string;
  readonly #env: NodeJS.ProcessEnv;
  readonly #lines = new LineCounter();
  #simulatorNode: Node | undefined;
  simulator: unknown;

  constructor(file: string, env: NodeJS.ProcessEnv) {
    this.#file = file;
    this.#env = env;
  }

  read(text: string): void {
    const document = parseDocument(text, { lineCounter: this.#lines });
    // What follows a colon is the file's own text, which may be the password.
    for (const { message, linePos } of document.errors)
      this.problems.push(`${this.#file}:${linePos?.[0].line ?? 1}: ${message.split(/:(?:\s|$)/)[0]}`);
    visit(document, {
      Alias: (_, alias) => {
        if (alias.resolve(document) === undefined)
          this.problems.push(
            `${this.#line(alias)}: a value that begins with "*" refers to another one: put it in quotes`,
          );
      },
    });
    if (this.problems.length > 0) return;
    if (document.contents === null) return;
    if (isMap(document.contents)) for (const pair of document.contents.items) this.#pair([], pair);
    else this.problems.push(`${this.#file}:1: must be a map of keys, as in REX-Ray's config.yml`);
  }

  readEnvironment(): void {
    for (const key of Object.keys(KEYS) as Key[]) {
      const variable = variableOf(key);
      const text = this.#env[variable];
      // An empty variable counts as unset.
      if (text) this.#take(key, text, `$${variable}`);
    }
  }

  problemInSimulator(issue: { path: PropertyKey[]; message: string; code?: string; keys?: string[] }): void {
    if (issue.code === "unrecognized_keys") {
      for (const key of issue.keys ?? []) {
        if (issue.path[0] === "credentials") {
          // A blank that was forgotten makes a key of the password.
          this.problems.push(`${this.#where(issue.path)}: simulator.credentials has more than username and password`);
          continue;
        }
        const known = nearest(
          key,
          issue.path.length === 0
            ? Object.keys(simulatorSchema.shape)
            : ["name", "faultSet", "devices", "path", "size"],
        );
        this.problems.push(
          `${this.#where([...issue.path, key])}: unknown key "${["simulator", ...issue.path, key].map(String).join(".")}"${known ? `; did you mean "${known}"?` : ""}`,
        );
      }
      return;
    }
    this.problems.push(
      `${this.#where(issue.path)}: ${["simulator", ...issue.path].map(String).join(".")} ${issue.message}`,
    );
  }

  #pair(parents: readonly string[], { key: keyNode, value: valueNode }: Pair): void {
    const word = isScalar(keyNode) ? String(keyNode.value) : String(keyNode);
    const parts = [...parents, word];
    const node = valueNode as Node | null;
    const where = this.#line(keyNode as Node);
    // REX-Ray looks a key up in `rexray:` too.
    const scoped =
      parts.length > 1 && parts[0]?.toLowerCase() === "rexray" && !this.#known(parts) ? parts.slice(1) : parts;
    const key = scoped.join(".").toLowerCase();
    if (key === "simulator") {
      this.#simulatorNode = node ?? undefined;
      this.simulator = node === null ? {} : (JSON.parse(JSON.stringify(node)) as unknown);
    } else if (key in KEYS) this.#take(key as Key, isScalar(node) ? node.value : (node?.toJSON() ?? ""), where);
    else if (DEAD[key] !== undefined)
      this.warnings.push(
        `${where}: "${parts.join(".")}" has no effect since REX-Ray 0.11; its place is "${DEAD[key]}"`,
      );
    // A section that has some effect: the keys in it are looked at one by one.
    else if (isMap(node) && Object.keys(KEYS).some((known) => known.startsWith(`${key}.`)))
      for (const pair of node.items) this.#pair(parts, pair);
    else if (WITHOUT_EFFECT.some((prefix) => key === prefix || key.startsWith(`${prefix}.`)))
      this.warnings.push(`${where}: "${parts.join(".")}" has no effect in rexray-sim`);
    else if (isMap(node)) for (const pair of node.items) this.#pair(parts, pair);
    else {
      const known = nearest(key, [...Object.keys(KEYS), ...WITHOUT_EFFECT, "simulator"]);
      this.problems.push(`${where}: unknown key "${parts.join(".")}"${known ? `; did you mean "${known}"?` : ""}`);
    }
  }

  /** Whether the file itself holds one. */
  get hasPassword(): boolean {
    return typeof this.simulator === "object" && this.simulator !== null && "credentials" in this.simulator;
  }

  #known(parts: readonly string[]): boolean {
    const key = parts.join(".").toLowerCase();
    return [...Object.keys(KEYS), ...WITHOUT_EFFECT, ...Object.keys(DEAD)].some(
      (known) => known === key || known.startsWith(`${key}.`),
    );
  }

  #take(key: Key, value: unknown, where: string): void {
    const text =
      typeof value === "string"
        ? value.replace(/\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?/g, (_, variable: string) => this.#env[variable] ?? "")
        : value;
    try {
      this.values.set(key, readValue(KEYS[key].kind, text));
    } catch (error) {
      this.problems.push(`${where}: ${key}: "${String(text).slice(0, 40)}" ${(error as Error).message}`);
    }
  }

  #where(keys: readonly PropertyKey[]): string {
    let node: unknown = this.#simulatorNode;
    let last = this.#simulatorNode;
    for (const key of keys) {
      if (typeof node !== "object" || node === null || !("get" in node)) break;
      const map = node as { items?: Pair[]; get: (key: unknown, keep: boolean) => unknown };
      const pair = isMap(node) ? node.items.find((item) => isScalar(item.key) && item.key.value === key) : undefined;
      node = map.get(key, true);
      last = (pair?.key as Node | undefined) ?? (node as Node | undefined) ?? last;
    }
    return last === undefined ? this.#file : this.#line(last);
  }

  #line(node: Node): string {
    return `${this.#file}:${this.#lines.linePos(node.range?.[0] ?? 0).line}`;
  }
}

/**
 * REXRAY_SIM_AGENTS stands in for `simulator.agents` where the file has none: 0 switches the agents off.
 * REXRAY_SIM_CREDENTIALS (NAME:PASSWORD) does for `simulator.credentials`.
 */
function withEnvironment(written: unknown, env: NodeJS.ProcessEnv): unknown {
  const { REXRAY_SIM_AGENTS: agents, REXRAY_SIM_CREDENTIALS: credentials } = env;
  const section = written ?? {};
  if (typeof section !== "object") return section;
  const [username, ...password] = (credentials ?? "").split(":");
  return {
    ...(agents && { agents: Number(agents) }),
    ...(credentials && { credentials: { username, password: password.join(":") } }),
    ...section,
  };
}

/** A password in the file is for those who may read it. */
function openToOthers(file: string): string[] {
  const found = fs.statSync(file, { throwIfNoEntry: false });
  if (found === undefined || (found.mode & 0o044) === 0) return [];
  return [`${file} has simulator.credentials and can be read by other users: \`chmod 600 ${file}\``];
}
