import { type Commands, type JsonFlag, type RunDirFlag, withJson, withRunDir } from "./flags.ts";

/** Agents and what runs on them. */
export function agentCommands({ program, context, done, runDirOf }: Commands): void {
  const app = program.command("app").description("look at Marathon's applications");
  withJson(app.command("ls"))
    .description("list the applications, and why something does not run")
    .action(async (flags: JsonFlag) => {
      const options = { runDir: runDirOf(flags), json: flags.json === true };
      done(await (await import("../app-ls.ts")).appLs(context, options));
    });

  const agent = program.command("agent").description("look at the Mesos-style agents, and let them fail");
  withJson(agent.command("ls"))
    .description("list the agents")
    .action(async (flags: JsonFlag) => {
      const options = { runDir: runDirOf(flags), json: flags.json === true };
      done(await (await import("../agent.ts")).agentLs(context, options));
    });
  for (const [order, help] of [
    ["stop", "end an agent's tasks, give their volumes back, and let it leave"],
    ["kill", "lose an agent's host at once, with all that runs there"],
    ["start", "bring an agent back"],
  ] as const) {
    withRunDir(agent.command(`${order} <name>`))
      .description(help)
      .action(async (name: string, flags: RunDirFlag) => {
        done(await (await import("../agent.ts")).agentOrder(context, { runDir: runDirOf(flags), name, order }));
      });
  }
}
