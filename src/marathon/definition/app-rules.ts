import type { AppDefinition } from "./app.ts";
import { checkExternalVolumes } from "./external-volume-rules.ts";
import type { Violations } from "./violations.ts";

const RESERVED = ["restart", "tasks", "versions", ".", ".."];
const OPERATORS = ["UNIQUE", "CLUSTER", "GROUP_BY", "LIKE", "MAX_PER", "UNLIKE", "IS"];

/** Rules on a complete application beside those of external volumes (spec/marathon.md 5). */
export function checkApp(app: AppDefinition, found: Violations, options: { externalVolumes: boolean }): void {
  const last = app.id.split("/").at(-1) ?? "";
  if (app.id === "/") found.add("/id", "Path must contain at least one path element");
  else if (RESERVED.includes(last))
    found.add("/id", `must not end with any of the following reserved keywords: ${RESERVED.join(", ")}`);
  checkCommand(app, found);
  checkContainer(app, found);
  for (const [index, constraint] of app.constraints.entries())
    checkConstraint(constraint, `/constraints(${index})`, found);
  checkPorts(app, found);
  checkHealth(app, found);
  app.fetch.forEach(({ uri }, index) => {
    if (!/^[A-Za-z][A-Za-z0-9+.-]*:\S+$|^\/\S*$/.test(uri))
      found.add(`/fetch(${index})/uri`, "URI has invalid syntax.");
  });
  if (app.role !== "*") found.add("/role", `got ${app.role}, expected one of: [*]`);
  if (app.acceptedResourceRoles?.some((role) => role !== "*"))
    found.add("/acceptedResourceRoles", "acceptedResourceRoles can only contain *");
  if (app.labels["MARATHON_SINGLE_INSTANCE_APP"] === "true" && app.instances > 1)
    found.add("/", "Single instance app may only have one instance");
  if (app.unreachableStrategy !== "disabled") {
    const { inactiveAfterSeconds, expungeAfterSeconds } = app.unreachableStrategy;
    if (inactiveAfterSeconds > expungeAfterSeconds)
      found.add(
        "/unreachableStrategy/inactiveAfterSeconds",
        `inactiveAfterSeconds (${inactiveAfterSeconds}) must be less or equal to expungeAfterSeconds, which is ${expungeAfterSeconds}`,
      );
  }
  checkExternalVolumes(app, found, { enabled: options.externalVolumes });
}

function checkCommand({ cmd, args, container }: AppDefinition, found: Violations): void {
  if (cmd === undefined && args === undefined && container?.docker === undefined)
    found.add("/", "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.");
  if (cmd !== undefined && args !== undefined && args.length > 0)
    found.add("/", "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.");
  if (cmd !== undefined && cmd.length <= 1) found.add("/", "must not be an empty string");
}

function checkContainer({ container, networks }: AppDefinition, found: Violations): void {
  if (container?.type === "DOCKER" && container.docker === undefined) found.add("/container/docker", "not defined");
  if (container?.type === "MESOS" && (container.docker?.parameters.length ?? 0) > 0)
    found.add("/container/docker/parameters", "must be empty");
  for (const { mode, name } of networks)
    if (mode === "container" && name === undefined)
      found.add("/networks", "Network name must be specified when container network is selected.");
}

function checkConstraint(constraint: readonly string[], path: string, found: Violations): void {
  const [, operator = "", value] = constraint;
  if (constraint.length < 2 || constraint.length > 3) {
    found.add(path, "Each constraint must have either 2 or 3 fields");
    return;
  }
  if (!OPERATORS.includes(operator.toUpperCase()))
    found.add(path, "operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER, UNLIKE or IS");
  if (operator === "UNIQUE" && value !== undefined && value !== "") found.add(path, "UNIQUE does not accept a value");
  if (operator === "LIKE" || operator === "UNLIKE") {
    if (value === undefined || value === "")
      found.add(path, "LIKE and UNLIKE require a non-empty, regular expression value");
    else if (!isPattern(value)) found.add(path, "is not a valid regular expression");
  }
  if (operator === "MAX_PER" && !/^\d+$/.test(value ?? "")) found.add(path, "MAX_PER requires an integer value");
  if (operator === "GROUP_BY" && value !== undefined && value !== "" && !/^\d+$/.test(value))
    found.add(path, "GROUP BY must define an integer value or else no value at all");
}

function isPattern(text: string): boolean {
  try {
    new RegExp(text);
    return true;
  } catch {
    return false;
  }
}

function checkPorts({ portDefinitions = [] }: AppDefinition, found: Violations): void {
  const repeated = (words: readonly unknown[]) => words.some((word, index) => words.indexOf(word) !== index);
  const ports = portDefinitions.flatMap(({ port, protocol }) => (port === 0 ? [] : [`${port}/${protocol}`]));
  if (repeated(ports)) found.add("/portDefinitions", "Ports must be unique.");
  if (repeated(portDefinitions.flatMap(({ name }) => name ?? [])))
    found.add("/portDefinitions", "Port names must be unique.");
}

function checkHealth({ healthChecks, portDefinitions, container }: AppDefinition, found: Violations): void {
  const ports = container?.portMappings?.length ?? portDefinitions?.length ?? 0;
  healthChecks.forEach(({ protocol, port, portIndex = 0 }, index) => {
    if (protocol !== "COMMAND" && port === undefined && portIndex >= ports)
      found.add(
        `/healthChecks(${index})`,
        "Health check port indices must address an element of the ports array or container port mappings.",
      );
  });
  if (healthChecks.filter(({ protocol }) => /^(?:MESOS_|COMMAND)/.test(protocol)).length > 1)
    found.add("/healthChecks", "AppDefinition can contain at most one Mesos health check");
}
