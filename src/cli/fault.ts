import { AdminClient } from "../admin/client.ts";
import { type Asked, show, tell } from "./answer.ts";
import { type Context, EXIT } from "./context.ts";
import { pairsOf } from "./pairs.ts";
import { table } from "./text.ts";

/** What `fault add` may say besides type and target. */
export interface FaultFlags {
  readonly name?: string;
  readonly probability?: string;
}

/** `rexray-sim fault add TYPE TARGET [KEY=VALUE…]`: prints the fault's name. */
export async function faultAdd(
  context: Context,
  options: Asked & { type: string; target: string; pairs: readonly string[]; flags: FaultFlags },
): Promise<number> {
  const { runDir, type, target, pairs, flags } = options;
  const attributes = pairsOf(pairs, "`fault types` lists what there is");
  const fault = await new AdminClient(runDir).addFault({
    type,
    target,
    attributes,
    ...(flags.name === undefined ? {} : { name: flags.name }),
    ...(flags.probability === undefined ? {} : { probability: Number(flags.probability) }),
  });
  show(context, options, fault, `${fault.name}\n`);
  return EXIT.ok;
}

/** `rexray-sim fault ls`. */
export async function faultLs(context: Context, options: Asked): Promise<number> {
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
  show(context, options, faults, text);
  return EXIT.ok;
}

/** `rexray-sim fault types`. */
export async function faultTypes(context: Context, options: Asked): Promise<number> {
  const { kinds } = await new AdminClient(options.runDir).faults();
  const rows = kinds.map(({ type, help, attributes }) => [
    type,
    help,
    Object.entries(attributes)
      .map(([key, attribute]) => `${key}=${attribute.default} (${attribute.help})`)
      .join(" "),
  ]);
  show(context, options, kinds, table(["TYPE", "WHAT IT DOES", "ATTRIBUTES"], rows));
  return EXIT.ok;
}

/** `rexray-sim fault rm NAME`. */
export async function faultRm(context: Context, options: Asked & { name: string }): Promise<number> {
  await new AdminClient(options.runDir).removeFault(options.name);
  tell(context, options, { removed: [options.name] }, `${options.name} is taken away\n`);
  return EXIT.ok;
}

/** `rexray-sim fault reset`. */
export async function faultReset(context: Context, options: Asked): Promise<number> {
  const client = new AdminClient(options.runDir);
  const { faults } = await client.faults();
  await client.resetFaults();
  tell(context, options, { removed: faults.map(({ name }) => name) }, "all faults are taken away\n");
  return EXIT.ok;
}
