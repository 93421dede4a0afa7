import fs from "node:fs";
import { printable } from "../lib/printable.ts";
import { Agent } from "../mesos/agent/agent.ts";
import { agentApp } from "../mesos/agent/agent-app.ts";
import type { AgentConfig } from "../mesos/task.ts";

// mesos-agent.js CONFIG: one simulated Mesos agent. The daemon runs this, people need not.
const config = JSON.parse(fs.readFileSync(process.argv[2] ?? "", "utf8")) as AgentConfig;
const agent = new Agent(config, (message) => console.error(`${new Date().toISOString()} ${printable(message)}`));
agent.recover();
fs.rmSync(config.socket, { force: true });
const app = agentApp(agent, () => process.exit(0));
// The socket is there when `listen` returns.
const previous = process.umask(0o177);
app.listen(config.socket);
process.umask(previous);
