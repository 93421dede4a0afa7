import { z } from "zod";
import { SimError } from "../lib/errors.ts";

/** Request bodies of the volume plugin protocol (docker-volume-plugin.md 4). The engine's own decoder ignores the case of keys. */
const name = z.string({ error: "Name must be a string" }).min(1, "Name is missing or empty: name a volume");

export const named = z.object({ name });
export const mounting = z.object({ name, id: z.string({ error: "ID must be a string" }).nullish() });
export const creating = z.object({
  name,
  opts: z
    .record(z.string(), z.string({ error: "option values must be strings" }), {
      error: "Opts must be an object of strings",
    })
    .nullish(),
});

/** Checks a body against one of the shapes. Throws invalid_argument. */
export function parse<T>(shape: z.ZodType<T>, body: unknown): T {
  const lower =
    typeof body === "object" && body !== null && !Array.isArray(body)
      ? Object.fromEntries(Object.entries(body).map(([key, value]) => [key.toLowerCase(), value]))
      : {};
  const result = shape.safeParse(lower);
  if (result.success) return result.data;
  const words = result.error.issues.map(({ path, message }) =>
    path.length > 1 ? `${path.join(".")}: ${message}` : message,
  );
  throw new SimError("invalid_argument", words.join("; "));
}
