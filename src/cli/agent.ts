import { AdminClient } from "../admin/client.ts";
import { localSecond } from "../lib/times.ts";
import { type Asked, show, tell } from "./answer.ts";
import { type Context, EXIT } from "./context.ts";
import { stateWord, table } from "./text.ts";

/** As the other lists show such a state. */
export const WORDS = { running: "up", stopped: "stopped", lost: "failed", unreachable: "unreachable" } as const;

/** The orders, as users call them and as the daemon does. */
const AGENT_ORDERS = {
  stop: { order: "stop", said: "has left" },
  kill: { order: "lose", said: "is lost" },
  start: { order: "restart", said: "is back" },
} as const;

/** `rexray-sim agent ls`. */
export async function agentLs(context: Context, options: Asked): Promise<number> {
  const agents = await new AdminClient(options.runDir).agents();
  const rows = agents.map(({ name, state, since, resources, attributes, pid }) => [
    name,
    stateWord(WORDS[state], context.color),
    String(resources.cpus),
    String(resources.mem),
    Object.entries(attributes)
      .map(([key, value]) => `${key}:${value}`)
      .join(" "),
    localSecond(since),
    pid === null ? "-" : String(pid),
  ]);
  const text = table(["AGENT", "STATE", "CPUS", "MEM, MIB", "ATTRIBUTES", "SINCE", "PID"], rows);
  show(context, options, agents, text);
  return EXIT.ok;
}

/** `rexray-sim agent stop|kill|start NAME`. */
export async function agentOrder(
  context: Context,
  options: Asked & { name: string; order: keyof typeof AGENT_ORDERS },
): Promise<number> {
  const { order, said } = AGENT_ORDERS[options.order];
  const client = new AdminClient(options.runDir);
  await client.orderAgent(options.name, order);
  const agent = (await client.agents()).find(({ name }) => name === options.name);
  tell(context, options, agent, `${options.name} ${said}\n`);
  return EXIT.ok;
}
