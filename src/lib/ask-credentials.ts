import type { RequestHandler } from "express";
import type { Credentials } from "./credentials.ts";

/** For an API that not everybody may call: answers 401 to those who do not give the credentials, and asks for them. */
export const askCredentials =
  (credentials: Credentials): RequestHandler =>
  (request, response, next) => {
    if (credentials.admit(request.get("authorization"))) next();
    else
      response
        .status(401)
        .set("WWW-Authenticate", 'Basic realm="rexray-sim", charset="UTF-8"')
        .json({ message: "Invalid username or password." });
  };
