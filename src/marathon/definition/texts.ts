/**
 * Every text of the stages from a request to a stored application (spec/marathon.md 2, 3, 5), by stage. Clients and scripts read
 * some of them, so they are Marathon's own to the letter.
 */

const LABEL = "^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$";
const OPTION_KEY = "^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?/[A-Za-z0-9](?:[-A-Za-z0-9\\._:]*[A-Za-z0-9])?$";
export const RESERVED_IDS: readonly string[] = ["restart", "tasks", "versions", ".", ".."];
/** Deployments at a time. */
export const MOST_DEPLOYMENTS = 100;

const decimal = (value: number) => (Number.isInteger(value) ? value.toFixed(1) : String(value));

export const PATTERNS = { label: new RegExp(LABEL), optionKey: new RegExp(OPTION_KEY) };

export const TEXTS = {
  /** 1: the text. */
  text: {
    invalid: "Invalid JSON",
    empty: "Please specify data in JSON format",
    noContent: "No content to map due to end-of-input",
  },
  /** 2: the shape. */
  shape: {
    message: "Invalid JSON",
    string: "error.expected.jsstring",
    number: "error.expected.jsnumber",
    boolean: "error.expected.jsboolean",
    array: "error.expected.jsarray",
    object: "error.expected.jsobject",
    int: "error.expected.int",
    long: "error.expected.long",
    min: "error.min",
    max: "error.max",
    minLength: "error.minLength",
    pattern: "error.pattern",
    word: "error.unknown.enum.literal",
    missing: (field: string, object: unknown) => `'${field}' is undefined on object: ${JSON.stringify(object)}`,
    deepGroup: (most: number) => `groups may be ${most} deep`,
    alone: (key: string, others: readonly string[]) => `${key} can not be combined with ${others.join(", ")}`,
  },
  /** 3: fields of former versions. */
  deprecated: {
    ports: "cannot specify both ports and port definitions",
    network: "must not specify both container.docker.network and networks",
    mustBeEmpty: "must be empty",
  },
  /** 4: rewriting them; these are errors 500. */
  rewriting: {
    networks: "cannot mix deprecated and canonical network APIs",
    uris: "cannot specify both uris and fetch fields",
    constraint: (constraint: readonly string[]) => `illegal constraint specification ${constraint.join(",")}`,
  },
  /** 6: a complete application. */
  app: {
    message: "Object is not valid",
    version: "The 'version' field may only be combined with the 'id' field.",
    emptyId: "Path must contain at least one path element",
    reservedId: `must not end with any of the following reserved keywords: ${RESERVED_IDS.join(", ")}`,
    nothingToRun: "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.",
    emptyCmd: "must not be an empty string",
    undefined: "not defined",
    networkName: "Network name must be specified when container network is selected.",
    uri: "URI has invalid syntax.",
    role: (role: string) => `got ${role}, expected one of: [*]`,
    resourceRoles: "acceptedResourceRoles can only contain *",
    single: "Single instance app may only have one instance",
    notZero: (value: number) => `got ${decimal(value)}, expected 0.0`,
    inactive: (inactive: number, expunge: number) =>
      `inactiveAfterSeconds (${inactive}) must be less or equal to expungeAfterSeconds, which is ${expunge}`,
    ports: "Ports must be unique.",
    portNames: "Port names must be unique.",
    healthPort: "Health check port indices must address an element of the ports array or container port mappings.",
    healthMesos: "AppDefinition can contain at most one Mesos health check",
  },
  /** 6: its constraints. */
  constraint: {
    fields: "Each constraint must have either 2 or 3 fields",
    operator: "operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER, UNLIKE or IS",
    unique: "UNIQUE does not accept a value",
    like: "LIKE and UNLIKE require a non-empty, regular expression value",
    pattern: "is not a valid regular expression",
    maxPer: "MAX_PER requires an integer value",
    groupBy: "GROUP BY must define an integer value or else no value at all",
  },
  /** 6 and 8: its external volumes. */
  volume: {
    off: "Feature external_volumes is not enabled. Enable with --enable_features external_volumes)",
    empty: "must not be empty",
    undefined: "not defined",
    label: `must match regular expression '${LABEL}'`,
    optionKey: `must match regular expression '${OPTION_KEY}'`,
    provider: "is unknown provider",
    iops: (value: string) => `Expected a valid, positive integer instead of ${value}`,
    boolean: "Expected a valid boolean",
    readOnly: "does not equal RW",
    dots: "can not be one of (.,..)",
    dockerOptions: "must only contain dvdi/driver",
    dockerSize: "must be undefined for Docker containers",
    sizeZero: "got 0, expected more than 0",
    unique: "Volume names must be unique",
    twice: (name: string, app: string) =>
      `Requested DVDI volume '${name}' is declared more than once within app ${app}`,
    instances: (app: string) => `Number of instances is limited to 1 when declaring DVDI volumes in app [${app}]`,
  },
  /** 9 to 12: what there is besides. */
  tree: {
    tooMany: `Max number (${MOST_DEPLOYMENTS}) of running deployments is achieved. Wait for existing deployments to complete or cancel one using force=true parameter. You can increase max deployment number by using --max_running_deployments parameter`,
    appExists: (id: string) => `An app with id [${id}] already exists.`,
    pathExists: (id: string) => `An app with the path ${id} already exists.`,
    groupExists: (id: string) => `Group ${id} is already created. Use PUT to change this group.`,
    cycle: "Dependency graph has cyclic dependencies.",
    volume: (name: string, app: string, others: readonly string[]) =>
      `Volume name '${name}' in ${app} conflicts with volume(s) of same name in app(s): ${others.join(", ")}`,
    locked: "App is locked by one or more deployments",
    lockedHelp:
      "App is locked by one or more deployments. Override with the option '?force=true'. View details at '/v2/deployments/<DEPLOYMENT_ID>'.",
  },
} as const;
