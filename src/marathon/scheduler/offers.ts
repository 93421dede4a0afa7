import type { AgentView } from "../../mesos/master/agents.ts";
import type { AppDefinition } from "../definition/app.ts";
import { wantedPorts } from "./ports.ts";
import type { Usages } from "./usage.ts";

/** Why an offer is declined, in Marathon's order (spec/marathon.md 6.5). */
export const REASONS = [
  "UnfulfilledRole",
  "UnfulfilledConstraint",
  "NoCorrespondingReservationFound",
  "AgentMaintenance",
  "InsufficientCpus",
  "InsufficientMemory",
  "InsufficientDisk",
  "InsufficientGpus",
  "InsufficientPorts",
  "DeclinedScarceResources",
] as const;
export type Reason = (typeof REASONS)[number];

/** What is free on an agent. */
export interface Offer {
  readonly agent: Pick<AgentView, "id" | "name" | "attributes" | "ports" | "docker">;
  readonly cpus: number;
  readonly mem: number;
  readonly disk: number;
  readonly usedPorts: ReadonlySet<number>;
}

/** A place where an instance of the application is already. */
export interface Placed {
  readonly agent: Pick<AgentView, "name" | "attributes">;
}

/** What is free on the agents that run, those with the most room first. */
export function freeOffers(agents: readonly AgentView[], usages: Pick<Usages, "on">): Offer[] {
  return agents
    .filter(({ state, pid }) => state === "running" && pid !== null)
    .map((agent) => {
      const { cpus, mem, disk } = agent.resources;
      const taken = usages.on(agent.name);
      const free = { cpus: cpus - taken.cpus, mem: mem - taken.mem, disk: disk - taken.disk };
      return { agent, ...free, usedPorts: taken.ports };
    })
    .toSorted((a, b) => b.cpus - a.cpus);
}

export type Match = { readonly ports: readonly number[] } | { readonly declined: Reason; readonly text: string };

/** Whether an offer fits an application that has these other instances. Pure. */
export function match(app: AppDefinition, offer: Offer, placed: readonly Placed[]): Match {
  const missing = notDone(app, offer.agent.docker);
  if (missing !== undefined) return { declined: "UnfulfilledConstraint", text: missing };
  const broken = app.constraints.find((constraint) => !fits(constraint, offer.agent, placed));
  if (broken !== undefined) return { declined: "UnfulfilledConstraint", text: `${broken.join(" ")} does not hold` };
  const short = (what: string, need: number, has: number) =>
    `needs ${need} ${what}, ${offer.agent.name} has ${round(has)}`;
  if (app.cpus > offer.cpus + 1e-9) return { declined: "InsufficientCpus", text: short("cpus", app.cpus, offer.cpus) };
  if (app.mem > offer.mem) return { declined: "InsufficientMemory", text: short("MiB of memory", app.mem, offer.mem) };
  if (app.disk > offer.disk) return { declined: "InsufficientDisk", text: short("MiB of disk", app.disk, offer.disk) };
  if (app.gpus > 0) return { declined: "InsufficientGpus", text: short("gpus", app.gpus, 0) };
  const ports = portsFor(app, offer);
  return ports === undefined ? { declined: "InsufficientPorts", text: `${offer.agent.name} lacks ports` } : { ports };
}

/** What no agent can do; such an application waits rather than being run as something else. */
function notDone({ container, networks, env, executor }: AppDefinition, docker: boolean): string | undefined {
  const volumes = container?.volumes ?? [];
  if (container?.type === "DOCKER" && !docker) return "there is no Docker engine on this machine: start it";
  if (container?.type === "MESOS" && container.docker !== undefined)
    return "images for MESOS containers are not supported yet: use type DOCKER";
  if (container?.type !== "DOCKER" && networks.some(({ mode }) => mode !== "host"))
    return "MESOS containers have no networks of their own: use mode host, or type DOCKER";
  if (volumes.some(({ persistent }) => persistent !== undefined))
    return "persistent local volumes are not supported: use an external one";
  if (
    volumes.some(({ secret }) => secret !== undefined) ||
    Object.values(env).some((value) => typeof value !== "string")
  )
    return "secrets are not supported: use env, or a host volume";
  if (!["", "//cmd"].includes(executor)) return "executors of one's own are not supported: leave executor out";
  return undefined;
}

const round = (value: number) => Math.round(value * 100) / 100;

function portsFor(app: AppDefinition, { agent, usedPorts }: Offer): number[] | undefined {
  const [first, last] = agent.ports;
  const taken = new Set(usedPorts);
  const ports: number[] = [];
  let next = first;
  for (const port of wantedPorts(app)) {
    if (port !== 0) {
      if (taken.has(port) || port < first || port > last) return undefined;
      ports.push(port);
    } else {
      while (taken.has(next)) next++;
      if (next > last) return undefined;
      ports.push(next);
    }
    taken.add(ports.at(-1) as number);
  }
  return ports;
}

/** Constraints of spec/marathon.md 7.3. */
function fits(constraint: readonly string[], agent: Placed["agent"], placed: readonly Placed[]): boolean {
  const [field = "", operator = "", value = ""] = constraint;
  const own = fieldOf(field, agent);
  if (own === undefined) return operator === "UNLIKE";
  const others = placed.map((place) => fieldOf(field, place.agent)).filter((other) => other !== undefined);
  const here = others.filter((other) => other === own).length;
  switch (operator) {
    case "UNIQUE":
      return here === 0;
    case "CLUSTER":
      return value !== "" ? own === value : others.every((other) => other === own);
    case "IS":
      return own === value;
    case "LIKE":
      return new RegExp(`^(?:${value})$`).test(own);
    case "UNLIKE":
      return !new RegExp(`^(?:${value})$`).test(own);
    case "MAX_PER":
      return here < Number(value);
    case "GROUP_BY": {
      const counts = new Map<string, number>();
      for (const other of others) counts.set(other, (counts.get(other) ?? 0) + 1);
      const groups = Math.max(counts.size, Number(value) || 0);
      // A value without an instance yet comes first, until there are as many as the application wants.
      if (here === 0) return groups === 0 || counts.size < groups || groups === counts.size;
      return counts.size >= (Number(value) || 0) && here <= Math.min(...counts.values());
    }
    default:
      return false;
  }
}

function fieldOf(field: string, { name, attributes }: Placed["agent"]): string | undefined {
  if (field === "hostname" || field === "@hostname") return name;
  return attributes[field.replace(/^@/, "")];
}
