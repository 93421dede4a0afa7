/** An application as it is stored and shown: canonical, complete (spec/marathon.md 4). */
export interface AppDefinition {
  readonly id: string;
  readonly cmd?: string;
  readonly args?: readonly string[];
  readonly user?: string;
  readonly env: Readonly<Record<string, string>>;
  readonly instances: number;
  readonly cpus: number;
  /** MiB. */
  readonly mem: number;
  readonly disk: number;
  readonly gpus: number;
  readonly executor: string;
  readonly constraints: readonly (readonly string[])[];
  readonly fetch: readonly Fetch[];
  readonly backoffSeconds: number;
  readonly backoffFactor: number;
  readonly maxLaunchDelaySeconds: number;
  readonly container?: Container;
  readonly healthChecks: readonly HealthCheck[];
  readonly readinessChecks: readonly ReadinessCheck[];
  readonly dependencies: readonly string[];
  readonly upgradeStrategy: UpgradeStrategy;
  readonly labels: Readonly<Record<string, string>>;
  readonly acceptedResourceRoles?: readonly string[];
  readonly networks: readonly Network[];
  readonly portDefinitions?: readonly PortDefinition[];
  readonly requirePorts: boolean;
  readonly secrets: Readonly<Record<string, unknown>>;
  readonly taskKillGracePeriodSeconds?: number;
  readonly unreachableStrategy:
    | "disabled"
    | { readonly inactiveAfterSeconds: number; readonly expungeAfterSeconds: number };
  readonly killSelection: "YOUNGEST_FIRST" | "OLDEST_FIRST";
  readonly role: string;
  readonly tty?: boolean;
}

/** What a request says: any part of it, and fields that are rewritten to current ones. */
export type AppUpdate = Partial<AppDefinition> & {
  readonly version?: string;
  readonly ports?: readonly number[];
  readonly uris?: readonly string[];
  readonly ipAddress?: { readonly networkName?: string; readonly labels: Readonly<Record<string, string>> };
};

export interface Fetch {
  readonly uri: string;
  readonly extract: boolean;
  readonly executable: boolean;
  readonly cache: boolean;
  readonly destPath?: string;
}

export interface UpgradeStrategy {
  readonly minimumHealthCapacity: number;
  readonly maximumOverCapacity: number;
}

export interface Network {
  readonly mode: "host" | "container" | "container/bridge";
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

export interface PortDefinition {
  readonly port: number;
  readonly protocol: string;
  readonly name?: string;
  readonly labels: Readonly<Record<string, string>>;
}

export interface PortMapping {
  readonly containerPort: number;
  readonly hostPort?: number;
  readonly servicePort: number;
  readonly protocol: string;
  readonly name?: string;
  readonly labels: Readonly<Record<string, string>>;
}

export interface Container {
  readonly type: "DOCKER" | "MESOS";
  readonly docker?: {
    readonly image: string;
    readonly forcePullImage: boolean;
    readonly privileged: boolean;
    readonly parameters: readonly { readonly key: string; readonly value: string }[];
    /** Rewritten to networks. */
    readonly network?: "BRIDGE" | "HOST" | "NONE" | "USER";
    readonly portMappings?: readonly PortMapping[];
    /** Of the engine's own, which has its credentials. */
    readonly credential?: unknown;
  };
  readonly volumes: readonly Volume[];
  readonly portMappings?: readonly PortMapping[];
}

export interface Volume {
  readonly containerPath: string;
  readonly mode: "RW" | "RO";
  readonly hostPath?: string;
  readonly external?: ExternalVolume;
  readonly persistent?: { readonly size: number };
  readonly secret?: string;
}

export interface ExternalVolume {
  readonly name?: string;
  readonly provider?: string;
  /** GiB, for the driver. */
  readonly size?: number;
  readonly options: Readonly<Record<string, string>>;
  readonly shared: boolean;
}

export interface HealthCheck {
  readonly protocol: "HTTP" | "HTTPS" | "TCP" | "COMMAND" | "MESOS_HTTP" | "MESOS_HTTPS" | "MESOS_TCP";
  readonly path?: string;
  readonly port?: number;
  readonly portIndex?: number;
  readonly command?: { readonly value: string };
  readonly gracePeriodSeconds: number;
  readonly intervalSeconds: number;
  readonly timeoutSeconds: number;
  readonly maxConsecutiveFailures: number;
  readonly delaySeconds: number;
  readonly ignoreHttp1xx: boolean;
}

export interface ReadinessCheck {
  readonly name: string;
  readonly protocol: "HTTP" | "HTTPS";
  readonly path: string;
  readonly portName: string;
  readonly intervalSeconds: number;
  readonly timeoutSeconds: number;
  readonly httpStatusCodesForReady: readonly number[];
  readonly preserveLastResponse: boolean;
}

/** The external volumes among an application's volumes, with their places in the list. */
export const externalVolumes = (app: Pick<AppDefinition, "container">): (ExternalVolume & { index: number })[] =>
  (app.container?.volumes ?? []).flatMap((volume, index) =>
    volume.external === undefined ? [] : [{ ...volume.external, index }],
  );
