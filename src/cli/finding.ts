/** The outcome of one check. */
export interface Finding {
  readonly name: string;
  /** warning: it works, but less well; it does not fail the examination. */
  readonly state: "ok" | "warning" | "failed";
  /** What was seen. */
  readonly detail: string;
  /** What to do, in one line; "" when ok. */
  readonly fix: string;
}

export const ok = (name: string, detail: string): Finding => ({ name, state: "ok", detail, fix: "" });
export const warning = (name: string, detail: string, fix: string): Finding => ({
  name,
  state: "warning",
  detail,
  fix,
});
export const failed = (name: string, detail: string, fix: string): Finding => ({ name, state: "failed", detail, fix });
