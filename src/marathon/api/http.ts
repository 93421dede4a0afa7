import type { Request, Response } from "express";
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
