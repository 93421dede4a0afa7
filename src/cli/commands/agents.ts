import { type AskedFlags, type Commands, withAsked } from "./flags.ts";

/** Agents and what runs on them. */
export function agentCommands({ program, context, done, asked }: Commands): void {
  const app = program.command("app").description("look at Marathon's applications");
  withAsked(app.command("ls"))
    .description("list the applications, and why something does not run")
    .action(async (flags: AskedFlags) => done(await (await import("../app-ls.ts")).appLs(context, asked(flags))));

  const agent = program.command("agent").description("look at the Mesos-style agents, and let them fail");
  withAsked(agent.command("ls"))
    .description("list the agents")
    .action(async (flags: AskedFlags) => done(await (await import("../agent.ts")).agentLs(context, asked(flags))));
  for (const [order, help] of [
    ["stop", "end an agent's tasks, give their volumes back, and let it leave"],
    ["kill", "lose an agent's host at once, with all that runs there"],
    ["start", "bring an agent back"],
  ] as const) {
    withAsked(agent.command(`${order} <agent>`))
      .description(help)
      .action(async (name: string, flags: AskedFlags) => {
        done(await (await import("../agent.ts")).agentOrder(context, { ...asked(flags), name, order }));
      });
  }
}
