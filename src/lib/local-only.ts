import type { RequestHandler } from "express";

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/i;

/**
 * For an API on the loopback address: keeps web pages out. A page of another site that a browser on this
 * machine shows could call it otherwise, by its address or by a name of the site's own that points here. Answers 403.
 */
export const localOnly: RequestHandler = (request, response, next) => {
  const origin = request.get("origin");
  const pages = origin !== undefined && !LOOPBACK.test(origin.replace(/^https?:\/\//, ""));
  if (!pages && LOOPBACK.test(request.get("host") ?? "")) next();
  else
    response
      .status(403)
      .json({ message: "this API answers programs on this machine only: call it by localhost or 127.0.0.1" });
};
