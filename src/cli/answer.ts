import type { Context } from "./context.ts";

/** What every command that a program may call is told. */
export interface Asked {
  readonly runDir: string;
  /** Whether the answer is for a program. */
  readonly json: boolean;
}

const jsonText = (value: unknown) => `${JSON.stringify(value, undefined, 2)}\n`;

/** Answers a question, on standard output: the value for a program, the text for a person. */
export function show(context: Context, { json }: Pick<Asked, "json">, value: unknown, text: string): void {
  context.out(json ? jsonText(value) : text);
}

/** Says what an order has done: the value for a program on standard output, a message for a person on standard error. */
export function tell(context: Context, { json }: Pick<Asked, "json">, value: unknown, message: string): void {
  if (json) context.out(jsonText(value));
  else context.err(message);
}
