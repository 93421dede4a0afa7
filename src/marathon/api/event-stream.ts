import type { Request, Response } from "express";
import type { Marathon } from "../marathon.ts";
import type { MarathonEvent, Plan } from "../scheduler/events.ts";
import { current, type Version } from "../scheduler/store.ts";
import { groupTree, type TreeApp } from "./group-tree.ts";
import { methodNotAllowed } from "./http.ts";
import { renderApp } from "./render.ts";

const DETACHED_MS = 100;
const KEEP_ALIVE_MS = 10_000;
/** A listener that does not read is let go when so much waits for it. */
const MOST_WAITING = 1024 * 1024;

/**
 * `/v2/events` (spec/marathon.md 6.6). Plans are in the heavy form, which is the light one and two groups besides: clients that
 * need the one get it, others need not care. `?plan-format=light` leaves the groups out. Throws 405 for those who do not ask for a
 * stream.
 */
export function eventStream(marathon: Marathon, request: Request, response: Response): void {
  if (request.get("accept") !== "text/event-stream") throw methodNotAllowed();
  const wanted = new Set([request.query["event_type"] ?? []].flat().map(String));
  const light = request.query["plan-format"] === "light";
  response.status(200).set({ "Content-Type": "text/event-stream", Connection: "close" });
  response.flushHeaders();
  const send = (event: MarathonEvent) => {
    if (wanted.size > 0 && !wanted.has(event.eventType)) return;
    response.write(`event: ${event.eventType}\ndata: ${light ? lightText(event) : heavyText(marathon, event)}\n\n`);
    if (response.writableLength > MOST_WAITING) response.destroy();
  };
  const stop = marathon.events.listen(send);
  const timer = setInterval(() => response.write("\n"), KEEP_ALIVE_MS);
  const remoteAddress = request.ip ?? "";
  response.once("close", () => {
    stop();
    clearInterval(timer);
    // When thousands leave at once, they need not hear of each other.
    setTimeout(() => marathon.events.emit("event_stream_detached", { remoteAddress }), DETACHED_MS).unref();
  });
  send({
    eventType: "event_stream_attached",
    remoteAddress,
    timestamp: new Date().toISOString(),
  });
}

/** The same text for all listeners: there may be thousands. */
const once = <A extends unknown[]>(text: (event: MarathonEvent, ...more: A) => string) => {
  const texts = new WeakMap<MarathonEvent, string>();
  return (event: MarathonEvent, ...more: A): string => {
    const known = texts.get(event) ?? text(event, ...more);
    texts.set(event, known);
    return known;
  };
};

const lightText = once((event) => JSON.stringify({ ...event, ...(event.plan && { plan: lightPlan(event.plan) }) }));
const heavies = once((event, marathon: Marathon) =>
  JSON.stringify({ ...event, ...(event.plan && { plan: heavyPlan(marathon, event.plan) }) }),
);
const heavyText = (marathon: Marathon, event: MarathonEvent) => heavies(event, marathon);

const lightPlan = ({ id, steps, version }: Plan) => ({ id, steps, version });

function heavyPlan(marathon: Marathon, plan: Plan) {
  const records = marathon.apps();
  const treeApp = (one: Version): TreeApp => ({ id: one.app.id, version: one.version, json: renderApp(one) });
  const target = records.map((record) => treeApp(current(record)));
  // Of those that it changes, the newest version before it.
  const kept = target.filter(({ id }) => !(id in plan.before));
  const old = Object.values(plan.before).flatMap((app) => {
    if (app === null) return [];
    const versions = records.find((record) => current(record).app.id === app.id)?.versions ?? [];
    const last = versions.find(({ version }) => version < plan.version)?.version ?? plan.version;
    return [treeApp({ app, version: last, lastScalingAt: last, lastConfigChangeAt: last })];
  });
  return {
    ...lightPlan(plan),
    original: groupTree("/", [...kept, ...old], marathon.store.groups),
    target: groupTree("/", target, marathon.store.groups),
  };
}
