import type { AppDefinition } from "../definition/app.ts";
import type { Instance } from "./instance.ts";

/** A port that an application declares, and what it is for one instance. */
export interface TaskPort {
  readonly name?: string;
  /** As declared: the agent's on the host network, the container's on one of its own. 0: whichever. */
  readonly declared: number;
  /** Of the agent. Undefined: only the container's own network has it. */
  readonly hostPort: number | undefined;
  /** Where the task listens, in the network that it is in. */
  readonly inside: number;
  readonly protocol: string;
}

/** Whether the application's containers have networks of their own. */
const hasOwnNetwork = ({ networks }: Pick<AppDefinition, "networks">): boolean => networks[0]?.mode !== "host";

/** Those that the agent has to find, in order: 0 stands for any. */
export function wantedPorts(app: AppDefinition): number[] {
  if (!hasOwnNetwork(app)) return (app.portDefinitions ?? []).map(({ port }) => (app.requirePorts ? port : 0));
  return (app.container?.portMappings ?? []).flatMap(({ hostPort }) => hostPort ?? []);
}

/** All of an instance's ports, in the order of the definition; agents' ports are handed out to those that want one. */
export function portsOf(app: AppDefinition, { ports }: Pick<Instance, "ports">): TaskPort[] {
  const left = [...ports];
  if (!hasOwnNetwork(app))
    return (app.portDefinitions ?? []).map(({ port, protocol, name }) => {
      const hostPort = left.shift();
      return { ...named(name), declared: port, hostPort, inside: hostPort ?? 0, protocol };
    });
  return (app.container?.portMappings ?? []).map(({ containerPort, hostPort: wanted, protocol, name }) => {
    const hostPort = wanted === undefined ? undefined : left.shift();
    const inside = containerPort === 0 ? (hostPort ?? 0) : containerPort;
    return { ...named(name), declared: containerPort, hostPort, inside, protocol };
  });
}

const named = (name: string | undefined) => (name === undefined ? {} : { name });

/** Variables of spec/marathon.md 7.2: where a task listens, or is found from outside if it is. */
export function portVariables(ports: readonly TaskPort[]): Record<string, string> {
  const numbers = ports.map(({ hostPort, inside }) => String(hostPort ?? inside));
  const each = ports.flatMap(({ declared, name }, index): [string, string][] => {
    const number = numbers[index] as string;
    return [
      [`PORT${index}`, number],
      ...(declared === 0 ? [] : [[`PORT_${declared}`, number] as [string, string]]),
      ...(name === undefined ? [] : [[`PORT_${variable(name)}`, number] as [string, string]]),
    ];
  });
  const [first] = numbers;
  return first === undefined ? {} : { PORT: first, PORTS: numbers.join(","), ...Object.fromEntries(each) };
}

/** A name as part of a variable's. */
export const variable = (name: string): string => name.toUpperCase().replace(/[^A-Z0-9]/g, "_");
