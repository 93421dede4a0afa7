import { type AgentTask, type DockerInfo, isTerminal, type Resources, type TaskInfo, type TaskState } from "../task.ts";
import type { AgentView } from "./agents.ts";

/** Agents and tasks as Mesos' endpoints show them (spec/marathon.md 9). */

export function renderAgent(
  { id, name, attributes, resources, ports, state, since }: AgentView,
  tasks: readonly AgentTask[],
) {
  const live = tasks.filter(({ status }) => !isTerminal(status.state));
  const all = { ...resources, gpus: 0, ports: `[${ports[0]}-${ports[1]}]` };
  return {
    id,
    hostname: name,
    port: 5051,
    pid: `slave(1)@${name}:5051`,
    attributes,
    active: state === "running",
    registered_time: Date.parse(since) / 1000,
    resources: all,
    used_resources: resourcesOf(live.map(({ info }) => info.resources)),
    offered_resources: resourcesOf([]),
    reserved_resources: {},
    unreserved_resources: all,
    capabilities: [],
  };
}

/** The sum. */
export function resourcesOf(all: readonly Resources[]) {
  const sum = (key: keyof Resources) => all.reduce((total, one) => total + one[key], 0);
  return { cpus: sum("cpus"), mem: sum("mem"), disk: sum("disk"), gpus: 0 };
}

/** As it is known to be: of an agent that is gone nobody knows what it still runs. */
export const stateOf = ({ status }: AgentTask, { state }: Pick<AgentView, "state">): TaskState =>
  state === "running" || isTerminal(status.state) ? status.state : "TASK_UNREACHABLE";

export function renderTask(task: AgentTask, agent: AgentView, frameworkId: string) {
  const { info, status, containerId } = task;
  const { timestamp, healthy, addresses = [] } = status;
  const state = stateOf(task, agent);
  return {
    id: info.taskId,
    name: info.name,
    framework_id: frameworkId,
    executor_id: "",
    slave_id: agent.id,
    state,
    role: "*",
    resources: { ...info.resources, gpus: 0 },
    labels: Object.entries(info.labels).map(([key, value]) => ({ key, value })),
    container: renderContainer(info),
    discovery: {
      visibility: "FRAMEWORK",
      name: info.name,
      ports: { ports: info.ports.map((number) => ({ number, protocol: "tcp" })) },
    },
    statuses: [
      {
        state,
        timestamp: Date.parse(timestamp) / 1000,
        ...(healthy === undefined ? {} : { healthy }),
        container_status: {
          container_id: { value: containerId },
          network_infos: addresses.map((ip_address) => ({ ip_addresses: [{ ip_address }] })),
        },
      },
    ],
  };
}

function renderContainer({ docker, volumes }: TaskInfo) {
  return {
    type: docker === undefined ? "MESOS" : "DOCKER",
    ...(docker === undefined ? {} : { docker: renderDocker(docker) }),
    volumes: volumes.map(({ containerPath, mode, source }) => ({
      container_path: containerPath,
      mode,
      ...("hostPath" in source
        ? { host_path: source.hostPath }
        : {
            source: {
              type: "DOCKER_VOLUME",
              docker_volume: {
                driver: source.driver,
                name: source.name,
                driver_options: { parameter: Object.entries(source.options).map(([key, value]) => ({ key, value })) },
              },
            },
          }),
    })),
  };
}

const NETWORKS: Readonly<Record<string, string>> = { host: "HOST", bridge: "BRIDGE", none: "NONE" };

const renderDocker = ({ image, forcePullImage, privileged, network, parameters, portMappings }: DockerInfo) => ({
  image,
  force_pull_image: forcePullImage,
  privileged,
  network: NETWORKS[network] ?? "USER",
  parameters,
  port_mappings: portMappings.map(({ containerPort, hostPort, protocol }) => ({
    container_port: containerPort,
    host_port: hostPort,
    protocol,
  })),
});

const STATES: readonly TaskState[] = [
  "TASK_STAGING",
  "TASK_STARTING",
  "TASK_RUNNING",
  "TASK_KILLING",
  "TASK_FINISHED",
  "TASK_KILLED",
  "TASK_FAILED",
  "TASK_LOST",
  "TASK_ERROR",
  "TASK_GONE",
  "TASK_UNREACHABLE",
];

/** How many there are in each state. */
export const taskCounts = (tasks: readonly { readonly state: TaskState }[]): Record<string, number> =>
  Object.fromEntries(STATES.map((state) => [state, tasks.filter((task) => task.state === state).length]));

/** `/metrics/snapshot`: one flat object. */
export function metrics(
  agents: readonly AgentView[],
  tasks: readonly { readonly state: TaskState; readonly resources: Resources }[],
): Record<string, number> {
  const inState = (state: AgentView["state"]) => agents.filter((agent) => agent.state === state).length;
  const total = resourcesOf(agents.map(({ resources }) => resources));
  const used = resourcesOf(tasks.filter(({ state }) => !isTerminal(state)).map(({ resources }) => resources));
  const counts = Object.entries(taskCounts(tasks)).map(([state, count]) => [`master/tasks_${wordOf(state)}`, count]);
  const amounts = (["cpus", "mem", "disk"] as const).flatMap((key) => [
    [`master/${key}_total`, total[key]],
    [`master/${key}_used`, used[key]],
    [`master/${key}_percent`, total[key] === 0 ? 0 : used[key] / total[key]],
  ]);
  return {
    "master/elected": 1,
    "master/uptime_secs": process.uptime(),
    "master/slaves_active": inState("running"),
    "master/slaves_connected": inState("running"),
    "master/slaves_disconnected": 0,
    "master/slaves_inactive": inState("stopped"),
    "master/slaves_unreachable": inState("lost") + inState("unreachable"),
    "master/frameworks_active": 1,
    ...Object.fromEntries([...counts, ...amounts]),
  };
}

const wordOf = (state: string) => state.slice("TASK_".length).toLowerCase();
