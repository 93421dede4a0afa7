import type { Request, Response } from "express";
import { MarathonError } from "../definition/violations.ts";
import type { Marathon } from "../marathon.ts";

const KEEP_ALIVE_MS = 10_000;
/** A listener that does not read is let go when so much waits for it. */
const MOST_WAITING = 4 * 1024 * 1024;

/** `/v2/events` (spec/marathon.md 6.6). Throws 405 for those who do not ask for a stream. */
export function eventStream(marathon: Marathon, request: Request, response: Response): void {
  if (request.get("accept") !== "text/event-stream") throw new MarathonError(405, "Method Not Allowed");
  const wanted = new Set([request.query["event_type"] ?? []].flat().map(String));
  response.status(200).set({ "Content-Type": "text/event-stream", Connection: "close" });
  response.flushHeaders();
  const send = (event: { eventType: string }) => {
    if (wanted.size > 0 && !wanted.has(event.eventType)) return;
    response.write(`event: ${event.eventType}\ndata: ${JSON.stringify(event)}\n\n`);
    if (response.writableLength > MOST_WAITING) response.destroy();
  };
  const stop = marathon.events.listen(send);
  const timer = setInterval(() => response.write("\n"), KEEP_ALIVE_MS);
  response.once("close", () => {
    stop();
    clearInterval(timer);
  });
  send({
    eventType: "event_stream_attached",
    ...{ remoteAddress: request.ip ?? "", timestamp: new Date().toISOString() },
  });
}
