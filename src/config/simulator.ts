import path from "node:path";
import { z } from "zod";
import { Credentials } from "../lib/credentials.ts";
import { isLoopback } from "../lib/loopback.ts";
import { inContainer } from "../lib/machine-paths.ts";
import { parseSize } from "../lib/size.ts";
import { readValue } from "./values.ts";

const MIB = 1024 ** 2;
const FEWEST_UNITS = 3;
const MOST_SDS = 1024;
const MOST_AGENTS = 64;
/** Ports of the first agent, and how many each has: they share this machine's. */
const FIRST_TASK_PORT = 31_000;
const TASK_PORTS = 100;

const size = z.union([z.string(), z.number()]).transform((value, context) => {
  try {
    const bytes = parseSize(String(value));
    if (bytes % MIB === 0) return bytes;
    context.addIssue({ code: "custom", message: "must be a multiple of 1 MB" });
  } catch (error) {
    context.addIssue({ code: "custom", message: (error as Error).message });
  }
  return z.NEVER;
});
const duration = z.union([z.string(), z.number()]).transform((value, context) => {
  try {
    return Number(readValue("duration", value));
  } catch (error) {
    context.addIssue({ code: "custom", message: (error as Error).message });
    return z.NEVER;
  }
});
const name = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,30}$/, 'must be a name: up to 31 of letters, digits, "_", "." and "-"');
/** Throttle policies of a pool (spec/scaleio.md 1.7); the numbers' defaults are the product's. */
const throttle = (policy: "limitNumOfConcurrentIos" | "favorAppIos") =>
  z
    .strictObject({
      policy: z.enum(["unlimited", "limitNumOfConcurrentIos", "favorAppIos", "dynamicBwThrottling"]).default(policy),
      concurrentIos: z.number().int().min(1).max(64).default(1),
      bandwidthKbps: z.number().int().min(100).default(10_240),
      appIopsThreshold: z.number().int().min(1).default(10),
      appBandwidthKbpsThreshold: z.number().int().min(1).default(1024),
      quietPeriodMs: z.number().int().min(0).default(1000),
    })
    .prefault({});
const device = z.strictObject({ name, path: z.string().optional(), size: size.optional() });
const sds = z.strictObject({ name, faultSet: name.optional(), devices: z.array(device).min(1).optional() });

const port = z.number().int().min(1).max(65_535);
const agentSchema = z.strictObject({
  name,
  attributes: z.record(z.string(), z.string()).default({}),
  cpus: z.number().positive().default(4),
  mem: z.number().int().positive().default(4096),
  disk: z.number().int().positive().default(102_400),
  ports: z
    .tuple([port, port])
    .refine(([first, last]) => first <= last, "must be the first and the last port")
    .optional(),
});

/** No message says more of them than the rule: what is written here is secret. */
const credentials = z.strictObject({
  username: z.string().regex(/^[^:\p{Cc}]+$/u, 'must be one or more characters without ":"'),
  password: z.string().regex(/^\P{Cc}+$/u, "must be one or more characters"),
});

/** The `simulator:` section as it is written. */
export const simulatorSchema = z.strictObject({
  profile: z.enum(["safe", "strict"]).default("safe"),
  protectionDomain: name.default("pd1"),
  pool: name.default("pool1"),
  sparePercentage: z.number().int().min(0).max(90).default(10),
  rebuildGracePeriod: duration.default(0),
  rebuildPolicy: throttle("limitNumOfConcurrentIos"),
  rebalancePolicy: throttle("favorAppIos"),
  checksum: z.boolean().default(false),
  scannerBandwidth: z.union([z.literal(0), size]).default(1024 ** 2),
  granularity: size.default(8 * 1024 ** 3),
  deviceSize: size.default(256 * 1024 ** 3),
  sds: z
    .union([z.number().int().min(FEWEST_UNITS).max(MOST_SDS), z.array(sds).min(FEWEST_UNITS).max(MOST_SDS)])
    .default(4),
  pluginNames: z.array(name).min(1).optional(),
  agents: z.union([z.number().int().min(0).max(MOST_AGENTS), z.array(agentSchema).max(MOST_AGENTS)]).default(3),
  marathonPort: port.default(8080),
  mesosPort: port.default(5050),
  listen: z.string().default("127.0.0.1"),
  credentials: credentials.optional(),
  dvdcli: z.string().startsWith("/", "must be an absolute path").optional(),
  agentTimeoutSeconds: z.number().int().min(1).default(75),
  launchTimeoutSeconds: z.number().int().min(1).default(300),
});

export interface SimulatorConfig {
  /** strict: as upstream, also where that loses or hides something (README, Differences). */
  readonly profile: "safe" | "strict";
  readonly protectionDomain: string;
  readonly pool: string;
  readonly sparePercentage: number;
  /** How long a node that may come back is waited for before its copies are made anew elsewhere (ms). */
  readonly rebuildGraceMs: number;
  readonly rebuildPolicy: z.infer<ReturnType<typeof throttle>>;
  readonly rebalancePolicy: z.infer<ReturnType<typeof throttle>>;
  /** Every block of every copy has a checksum. */
  readonly checksum: boolean;
  /** What the background scanner may read of every device in a second; 0: it is off. */
  readonly scannerBytesPerSecond: number;
  readonly granularityBytes: number;
  readonly sds: readonly {
    readonly name: string;
    readonly faultSet: string;
    readonly devices: readonly { readonly name: string; readonly path: string; readonly sizeBytes: number }[];
  }[];
  /** Mesos-style agents; none: the part is off. */
  readonly agents: readonly {
    readonly name: string;
    readonly attributes: Readonly<Record<string, string>>;
    /** MiB of memory and disk. */
    readonly resources: { readonly cpus: number; readonly mem: number; readonly disk: number };
    readonly ports: readonly [number, number];
  }[];
  readonly marathonPort: number;
  readonly mesosPort: number;
  /** Address that both listen on. */
  readonly listen: string;
  /** What callers of both have to give; undefined: nothing. */
  readonly credentials: Credentials | undefined;
  /** The dvdcli that agents call; undefined: ours. */
  readonly dvdcli: string | undefined;
  /** After so long without a word of an agent its tasks are unreachable. */
  readonly agentTimeoutSeconds: number;
  /** A task that has not started by then is ended, and another one is tried. */
  readonly launchTimeoutSeconds: number;
  /** Undefined: the names of the command line. */
  readonly pluginNames: readonly string[] | undefined;
}

/** Fills in what was left out. Answers the problems that only the whole shows. */
export function expandSimulator(
  written: z.infer<typeof simulatorSchema>,
  stateDir: string,
): { simulator: SimulatorConfig; problems: string[] } {
  const list: z.infer<typeof sds>[] =
    typeof written.sds === "number"
      ? Array.from({ length: written.sds }, (_, i) => ({ name: `sds-${i + 1}` }))
      : written.sds;
  const nodes = list.map((node) => ({
    name: node.name,
    faultSet: node.faultSet ?? node.name,
    devices: (node.devices ?? [{ name: "dev-1" }]).map((one) => ({
      name: one.name,
      path:
        one.path !== undefined && path.isAbsolute(one.path)
          ? inContainer(one.path)
          : path.resolve(stateDir, one.path ?? path.join("sds", node.name, one.name)),
      sizeBytes: one.size ?? written.deviceSize,
    })),
  }));
  const problems: string[] = [];
  const units = new Set(nodes.map(({ faultSet }) => faultSet));
  if (units.size < FEWEST_UNITS)
    problems.push(
      `simulator.sds: the SDSs lie in ${units.size} fault sets, a pool needs ${FEWEST_UNITS}: add SDSs or fault sets`,
    );
  for (const twice of repeated(nodes.map((node) => node.name)))
    problems.push(`simulator.sds: "${twice}" is the name of two SDSs: rename one`);
  for (const twice of repeated(nodes.flatMap((node) => node.devices.map((one) => one.path)))) {
    problems.push(`simulator.sds: two devices share the directory ${twice}: give each its own`);
  }
  const { profile, protectionDomain, pool, sparePercentage, rebuildPolicy, rebalancePolicy } = written;
  const { checksum, scannerBandwidth, granularity, pluginNames, marathonPort, mesosPort, listen, dvdcli } = written;
  const { agentTimeoutSeconds, launchTimeoutSeconds, credentials: asked } = written;
  const agents =
    typeof written.agents === "number"
      ? Array.from({ length: written.agents }, (_, i) => agentSchema.parse({ name: `agent-${i + 1}` }))
      : written.agents;
  for (const twice of repeated(agents.map((one) => one.name)))
    problems.push(`simulator.agents: "${twice}" is the name of two agents: rename one`);
  if (agents.length > 0 && asked === undefined && !isLoopback(listen))
    problems.push(
      `simulator.listen: "${listen}" is no loopback address, and whoever reaches Marathon's port runs commands as root: set simulator.credentials: {username: NAME, password: PASSWORD}, or listen on 127.0.0.1`,
    );
  return {
    simulator: {
      profile,
      protectionDomain,
      pool,
      sparePercentage,
      rebuildGraceMs: written.rebuildGracePeriod,
      rebuildPolicy,
      rebalancePolicy,
      checksum,
      scannerBytesPerSecond: scannerBandwidth,
      granularityBytes: granularity,
      sds: nodes,
      agents: agents.map(({ name: agentName, attributes, cpus, mem, disk, ports }, index) => {
        const first = FIRST_TASK_PORT + index * TASK_PORTS;
        const own = ports ?? ([first, first + TASK_PORTS - 1] as const);
        return { name: agentName, attributes, resources: { cpus, mem, disk }, ports: own };
      }),
      marathonPort,
      mesosPort,
      listen,
      credentials: asked && new Credentials(asked.username, asked.password),
      dvdcli,
      agentTimeoutSeconds,
      launchTimeoutSeconds,
      pluginNames,
    },
    problems,
  };
}

const repeated = (words: readonly string[]) => new Set(words.filter((word, i) => words.indexOf(word) !== i));
