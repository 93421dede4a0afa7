import type { Marathon } from "../marathon.ts";

/** Clients branch on it (spec/marathon.md 12.10). */
const MARATHON_VERSION = "1.10.26";

/** `/v2/info`: what clients read of it (spec/marathon.md 6.5). Addresses are host:port. */
export function info(marathon: Marathon, address: string, mesos: string): Record<string, unknown> {
  // An IPv6 address has colons of its own.
  const { hostname: host, port } = new URL(`http://${address}`);
  return {
    name: "marathon",
    version: MARATHON_VERSION,
    buildref: "rexray-sim",
    elected: true,
    leader: address,
    frameworkId: marathon.store.frameworkId,
    marathon_config: {
      features: ["external_volumes"],
      framework_name: "marathon",
      hostname: host,
      ha: false,
      checkpoint: true,
      failover_timeout: 604_800,
      local_port_min: 10_000,
      local_port_max: 20_000,
      task_launch_timeout: 300_000,
      reconciliation_interval: 600_000,
      executor: "//cmd",
      mesos_user: null,
      webui_url: null,
      master: `http://${mesos}`,
      mesos_leader_ui_url: `http://${mesos}`,
    },
    zookeeper_config: {
      zk: "zk://none",
      zk_timeout: 10_000,
      zk_session_timeout: 10_000,
      zk_connection_timeout: 10_000,
      zk_max_versions: 50,
      zk_max_node_size: 1_024_000,
      zk_compression: true,
      zk_compression_threshold: 65_536,
    },
    http_config: { http_port: Number(port), https_port: null },
  };
}
