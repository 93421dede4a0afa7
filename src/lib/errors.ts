/**
 * The one error type of the project. A code is stable (adapters map it to their protocol in one table, tests
 * compare it); the message is for a person and names the input, the rule and the remedy.
 */

/** Every code, with what it means. Adapters must map all of them. */
export const ERROR_CODES = {
  invalid_argument: "the request is malformed: a name, option or size breaks a rule",
  not_found: "no object of that name or id",
  already_exists: "an object of that name exists and differs from what was asked",
  in_use: "the object is mounted, mapped or busy",
  no_capacity: "the pool cannot promise that much",
  unavailable: "no good copy can be reached, or a part that is needed is down; may heal",
  no_quorum: "fewer than two MDM members take changes",
  in_doubt: "whether a change was made shows when a failed MDM member is back",
  state_corrupt: "a file of ours cannot be understood",
  state_newer: "a file of ours was written by a newer version",
  host_failed: "a kernel operation or a system tool failed",
  timed_out: "a step did not finish within its limit",
  cancelled: "the caller went away; what was begun has been undone",
  internal: "a defect in rexray-sim",
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

export class SimError extends Error {
  override readonly name = "SimError";

  /**
   * @param code stable code from {@link ERROR_CODES}
   * @param message what happened to which thing, which rule it breaks, and what to do about it
   * @param options.cause the fact beneath: an errno error, a tool's stderr, another SimError
   */
  constructor(
    readonly code: ErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

/** Turns anything thrown into a SimError; foreign errors become `internal` with the original as cause. */
export function asSimError(error: unknown): SimError {
  if (error instanceof SimError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new SimError("internal", message, { cause: error });
}

/** The errno name of a Node system error ("ENOENT"), or undefined. */
export function errnoOf(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}
