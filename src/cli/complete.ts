import { AdminClient } from "../admin/client.ts";
import type { Asked } from "./answer.ts";
import { type Context, EXIT } from "./context.ts";

/** The names that a running instance has, by what an argument of a command is called. */
const NAMES: Readonly<Record<string, (client: AdminClient) => Promise<readonly { readonly name: string }[]>>> = {
  volume: async (client) => (await client.status()).volumes,
  snapshot: async (client) => (await client.status()).volumes.filter(({ snapshotOf }) => snapshotOf !== null),
  sds: async (client) => (await client.status()).sds,
  agent: (client) => client.agents(),
  fault: async (client) => (await client.faults()).faults,
};

/** Whether an argument that is called so is the name of something that the instance has. */
export const isNamed = (argument: string): boolean => Object.hasOwn(NAMES, argument);

/** `rexray-sim complete ARGUMENT`: what it may be, a line each, for the shells' completions. Says nothing when there is nothing to say. */
export async function complete(context: Context, options: Asked & { argument: string }): Promise<number> {
  const names = await NAMES[options.argument]?.(new AdminClient(options.runDir)).catch(() => []);
  context.out((names ?? []).map(({ name }) => `${name}\n`).join(""));
  return EXIT.ok;
}
