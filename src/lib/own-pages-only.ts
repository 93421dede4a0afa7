import type { RequestHandler } from "express";

/**
 * For an API on a network, which is called by names that we do not know: a browser that has once been given the credentials
 * sends them along with whatever a page of another site asks of us. Such a request names that site. Answers 403.
 */
export const ownPagesOnly: RequestHandler = (request, response, next) => {
  const origin = request.get("origin");
  if (origin === undefined || origin.replace(/^https?:\/\//, "") === request.get("host")) next();
  else response.status(403).json({ message: "this API does not answer web pages of other sites" });
};
