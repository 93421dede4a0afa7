import type { AppDefinition } from "./app.ts";
import { checkExternalVolumes } from "./external-volume-rules.ts";
import { RESERVED_IDS, TEXTS } from "./texts.ts";
import type { Violations } from "./violations.ts";

const OPERATORS = ["UNIQUE", "CLUSTER", "GROUP_BY", "LIKE", "MAX_PER", "UNLIKE", "IS"];

/** Rules on a complete application beside those of external volumes (spec/marathon.md 5). */
export function checkApp(app: AppDefinition, found: Violations, options: { externalVolumes: boolean }): void {
  const last = app.id.split("/").at(-1) ?? "";
  if (app.id === "/") found.add("/id", TEXTS.app.emptyId);
  else if (RESERVED_IDS.includes(last)) found.add("/id", TEXTS.app.reservedId);
  checkCommand(app, found);
  checkContainer(app, found);
  for (const [index, constraint] of app.constraints.entries())
    checkConstraint(constraint, `/constraints(${index})`, found);
  checkPorts(app, found);
  checkHealth(app, found);
  app.fetch.forEach(({ uri }, index) => {
    if (!/^[A-Za-z][A-Za-z0-9+.-]*:\S+$|^\/\S*$/.test(uri)) found.add(`/fetch(${index})/uri`, TEXTS.app.uri);
  });
  if (app.role !== "*") found.add("/role", TEXTS.app.role(app.role));
  if (app.acceptedResourceRoles?.some((role) => role !== "*"))
    found.add("/acceptedResourceRoles", TEXTS.app.resourceRoles);
  if (app.labels["MARATHON_SINGLE_INSTANCE_APP"] === "true") checkSingle(app, found);
  if (app.unreachableStrategy !== "disabled") {
    const { inactiveAfterSeconds, expungeAfterSeconds } = app.unreachableStrategy;
    if (inactiveAfterSeconds > expungeAfterSeconds)
      found.add(
        "/unreachableStrategy/inactiveAfterSeconds",
        TEXTS.app.inactive(inactiveAfterSeconds, expungeAfterSeconds),
      );
  }
  checkExternalVolumes(app, found, { enabled: options.externalVolumes });
}

/** An application of which two would do harm: also an upgrade has to end the old one first. */
function checkSingle({ instances, upgradeStrategy }: AppDefinition, found: Violations): void {
  if (instances > 1) found.add("/", TEXTS.app.single);
  for (const [name, value] of Object.entries(upgradeStrategy))
    if (value !== 0) found.add(`/upgradeStrategy/${name}`, TEXTS.app.notZero(value));
}

function checkCommand({ cmd, args, container }: AppDefinition, found: Violations): void {
  if (cmd === undefined && args === undefined && container?.docker === undefined)
    found.add("/", TEXTS.app.nothingToRun);
  if (cmd !== undefined && args !== undefined && args.length > 0) found.add("/", TEXTS.app.nothingToRun);
  if (cmd !== undefined && cmd.length <= 1) found.add("/", TEXTS.app.emptyCmd);
}

function checkContainer({ container, networks }: AppDefinition, found: Violations): void {
  if (container?.type === "DOCKER" && container.docker === undefined)
    found.add("/container/docker", TEXTS.app.undefined);
  if (container?.type === "MESOS" && (container.docker?.parameters.length ?? 0) > 0)
    found.add("/container/docker/parameters", TEXTS.deprecated.mustBeEmpty);
  for (const { mode, name } of networks)
    if (mode === "container" && name === undefined) found.add("/networks", TEXTS.app.networkName);
}

function checkConstraint(constraint: readonly string[], path: string, found: Violations): void {
  const [, operator = "", value] = constraint;
  if (constraint.length < 2 || constraint.length > 3) {
    found.add(path, TEXTS.constraint.fields);
    return;
  }
  if (!OPERATORS.includes(operator.toUpperCase())) found.add(path, TEXTS.constraint.operator);
  if (operator === "UNIQUE" && value !== undefined && value !== "") found.add(path, TEXTS.constraint.unique);
  if (operator === "LIKE" || operator === "UNLIKE") {
    if (value === undefined || value === "") found.add(path, TEXTS.constraint.like);
    else if (!isPattern(value)) found.add(path, TEXTS.constraint.pattern);
  }
  if (operator === "MAX_PER" && !/^\d+$/.test(value ?? "")) found.add(path, TEXTS.constraint.maxPer);
  if (operator === "GROUP_BY" && value !== undefined && value !== "" && !/^\d+$/.test(value))
    found.add(path, TEXTS.constraint.groupBy);
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
  if (repeated(ports)) found.add("/portDefinitions", TEXTS.app.ports);
  if (repeated(portDefinitions.flatMap(({ name }) => name ?? []))) found.add("/portDefinitions", TEXTS.app.portNames);
}

function checkHealth({ healthChecks, portDefinitions, container }: AppDefinition, found: Violations): void {
  const ports = container?.portMappings?.length ?? portDefinitions?.length ?? 0;
  healthChecks.forEach(({ protocol, port, portIndex = 0 }, index) => {
    if (protocol !== "COMMAND" && port === undefined && portIndex >= ports)
      found.add(`/healthChecks(${index})`, TEXTS.app.healthPort);
  });
  if (healthChecks.filter(({ protocol }) => /^(?:MESOS_|COMMAND)/.test(protocol)).length > 1)
    found.add("/healthChecks", TEXTS.app.healthMesos);
}
