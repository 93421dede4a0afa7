import { constants, gzipSync } from "node:zlib";
import type { Request, RequestHandler, Response } from "express";
import { TEXTS } from "../definition/texts.ts";
import { MarathonError } from "../definition/violations.ts";

/** Query booleans: "true" in any case, everything else is false. */
export const isTrue = (value: unknown, fallback = false): boolean =>
  value === undefined ? fallback : String(value).toLowerCase() === "true";

/** An id that spans several parts of a path. */
export const pathOf = (parts: unknown): string =>
  `/${(Array.isArray(parts) ? parts : [parts]).filter(Boolean).join("/")}`;

/** The body as JSON. Throws 400 in Marathon's words. */
export function bodyOf(request: Request): unknown {
  const text = typeof request.body === "string" ? request.body : "";
  if (text.trim() === "") throw new MarathonError(400, TEXTS.text.empty, { details: TEXTS.text.noContent });
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new MarathonError(400, TEXTS.text.invalid, {
      details: error instanceof Error ? error.message : String(error),
    });
  }
}

/** A time as versions have it. Throws 422 in Marathon's words. */
export function checkTime(text: string): void {
  if (Number.isNaN(Date.parse(text)) || !/^\d{4}-/.test(text))
    throw new MarathonError(422, `Invalid timestamp provided '${text}'. Expecting ISO-8601 datetime string.`);
}

/** What a write answers: the deployment is in a header too. */
export function answer(response: Response, begun: { deploymentId: string }, status: number, body: unknown): void {
  response.status(status).set("Marathon-Deployment-Id", begun.deploymentId).json(body);
}

export const methodNotAllowed = () => new MarathonError(405, "Method Not Allowed");

/** Old scripts ask for task lists as text. */
export const wantsText = (request: Request): boolean => request.accepts(["json", "text/plain"]) === "text/plain";

/** What is shown of applications besides: `embed=apps.tasks` and its like, with or without the words before it. */
export function appEmbeds(words: readonly string[]): ReadonlySet<string> {
  const parts = words.map((word) => word.replace(/^(?:group\.)?(?:apps?\.)/, ""));
  return new Set(parts.flatMap((word) => (word === "failures" ? ["tasks", "lastTaskFailure"] : [word])));
}

/** Shorter answers are not worth it (characters). */
const SHORT = 500;

/** JSON in, JSON out, compressed for those who take that. Throws 415 and 406 (spec/marathon.md 6.1). */
export const mediaTypes: RequestHandler = (request, response, next) => {
  const isEmpty = (request.get("content-length") ?? "0") === "0" && request.get("transfer-encoding") === undefined;
  if (!isEmpty && request.get("content-type") !== undefined && request.is("json") === false)
    throw new MarathonError(415, "Unsupported Media Type");
  if (request.accepts(["json", "text/plain", "text/event-stream"]) === false)
    throw new MarathonError(406, "Not Acceptable");
  const send = response.send.bind(response);
  response.send = (body) => {
    const short = typeof body !== "string" || body.length < SHORT;
    if (short || request.acceptsEncodings("gzip") === false) return send(body);
    response.vary("Accept-Encoding").set("Content-Encoding", "gzip");
    return send(gzipSync(body, { level: constants.Z_BEST_SPEED }));
  };
  next();
};
