import { AdminClient } from "../admin/client.ts";
import { SimError } from "../lib/errors.ts";
import { type Context, EXIT } from "./context.ts";
import { table } from "./text.ts";

/** What `fault add` may say besides type and target. */
export interface FaultFlags {
  readonly name?: string;
  readonly probability?: string;
}

/** `rexray-sim fault add TYPE TARGET [KEY=VALUE…]`: prints the fault's name. */
export async function faultAdd(
  context: Context,
  options: { runDir: string; type: string; target: string; pairs: readonly string[]; flags: FaultFlags },
): Promise<number> {
  const { runDir, type, target, pairs, flags } = options;
  const attributes = Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf("=");
      if (at > 0) return [pair.slice(0, at), pair.slice(at + 1)];
      throw new SimError("invalid_argument", `"${pair}" is no attribute: write KEY=VALUE; \`fault types\` lists them`);
    }),
  );
  const { name } = await new AdminClient(runDir).addFault({
    type,
    target,
    attributes,
    ...(flags.name === undefined ? {} : { name: flags.name }),
    ...(flags.probability === undefined ? {} : { probability: Number(flags.probability) }),
  });
  context.out(`${name}\n`);
  return EXIT.ok;
}

/** `rexray-sim fault ls`. */
export async function faultLs(context: Context, options: { runDir: string; json: boolean }): Promise<number> {
  const { faults } = await new AdminClient(options.runDir).faults();
  const rows = faults.map(({ name, type, target, probability, attributes }) => [
    name,
    type,
    target,
    String(probability),
    Object.entries(attributes)
      .map(([key, value]) => `${key}=${value}`)
      .join(" "),
  ]);
  const text =
    rows.length === 0 ? "no faults\n" : table(["FAULT", "TYPE", "TARGET", "PROBABILITY", "ATTRIBUTES"], rows);
  context.out(options.json ? `${JSON.stringify(faults, undefined, 2)}\n` : text);
  return EXIT.ok;
}

/** `rexray-sim fault types`. */
export async function faultTypes(context: Context, options: { runDir: string; json: boolean }): Promise<number> {
  const { kinds } = await new AdminClient(options.runDir).faults();
  const rows = kinds.map(({ type, help, attributes }) => [
    type,
    help,
    Object.entries(attributes)
      .map(([key, attribute]) => `${key}=${attribute.default} (${attribute.help})`)
      .join(" "),
  ]);
  context.out(
    options.json ? `${JSON.stringify(kinds, undefined, 2)}\n` : table(["TYPE", "WHAT IT DOES", "ATTRIBUTES"], rows),
  );
  return EXIT.ok;
}

/** `rexray-sim fault rm NAME`. */
export async function faultRm(context: Context, options: { runDir: string; name: string }): Promise<number> {
  await new AdminClient(options.runDir).removeFault(options.name);
  context.err(`${options.name} is taken away\n`);
  return EXIT.ok;
}

/** `rexray-sim fault reset`. */
export async function faultReset(context: Context, options: { runDir: string }): Promise<number> {
  await new AdminClient(options.runDir).resetFaults();
  context.err("all faults are taken away\n");
  return EXIT.ok;
}
