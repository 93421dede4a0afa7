import express, { type Express } from "express";
import type { TaskInfo } from "../task.ts";
import type { Agent } from "./agent.ts";

/** What the master asks of an agent, over its socket. Nobody else can open it. */
export function agentApp(agent: Agent, leave: () => void): Express {
  const app = express();
  app.use(express.json({ limit: "10mb" }));
  app.get("/tasks", async (request, response) => {
    response.json(await agent.after(Number(request.query["after"] ?? 0), Number(request.query["wait"] ?? 0)));
  });
  app.post("/tasks", (request, response) => {
    agent.launch(request.body as TaskInfo);
    response.json({});
  });
  app.post("/tasks/:id/kill", (request, response) => {
    agent.kill(request.params.id);
    response.json({});
  });
  app.post("/drain", async (_request, response) => {
    await agent.drain();
    // Whoever has asked may have gone meanwhile; that it is to leave holds.
    if (response.destroyed) return leave();
    response.once("close", leave);
    response.json(await agent.after(0, 0));
  });
  return app;
}
