import fs from "node:fs";
import path from "node:path";
import { z } from "zod";
import { replaceFile } from "../../lib/atomic-file.ts";
import { errnoOf, SimError } from "../../lib/errors.ts";
import type { FaultFamily, FaultSpec } from "../../lib/fault.ts";
import type { Device, Sds } from "../model.ts";

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;
const FORMAT = 1;
const MOST_NAMED = 30;

/** What a user says of a new fault; what is left out has a default. */
export interface FaultRequest {
  readonly type: string;
  readonly target: string;
  readonly name?: string | undefined;
  readonly probability?: number | undefined;
  readonly attributes?: Readonly<Record<string, string>> | undefined;
}

const spec = z.strictObject({
  name: z.string(),
  type: z.string(),
  target: z.string(),
  probability: z.number(),
  attributes: z.record(z.string(), z.string()),
});
const file = z.strictObject({ format: z.literal(FORMAT), faults: z.array(spec) });

/**
 * The faults that users have put on the running system, until they take them away: they outlive the daemon, as the engines do
 * that have them. A book that cannot be read is an empty one: then everything works, which is what a fault's undo is for.
 */
export class FaultBook {
  readonly #file: string;
  #faults: readonly FaultSpec[];

  constructor(stateDir: string, log: (message: string) => void) {
    this.#file = path.join(stateDir, "faults.json");
    this.#faults = read(this.#file, log);
  }

  get faults(): readonly FaultSpec[] {
    return this.#faults;
  }

  /** Those on a device. */
  on(sds: Pick<Sds, "name">, device: Pick<Device, "name">): FaultSpec[] {
    return this.#faults.filter(({ target }) => target === sds.name || target === `${sds.name}/${device.name}`);
  }

  /** Throws invalid_argument, not_found, already_exists. */
  async add(request: FaultRequest, families: readonly FaultFamily[]): Promise<FaultSpec> {
    const fault = this.#complete(request, families);
    await this.#save([...this.#faults, fault]);
    return fault;
  }

  /** Answers what was taken away. Throws not_found. */
  async remove(name: string): Promise<FaultSpec> {
    const fault = this.#faults.find((other) => other.name === name);
    if (fault === undefined) {
      const names = this.#faults.map((other) => other.name).join(", ") || "none";
      throw new SimError("not_found", `no fault is called "${name}"; there are: ${names}`);
    }
    await this.#save(this.#faults.filter((other) => other !== fault));
    return fault;
  }

  #complete(
    { type, target, name, probability = 1, attributes = {} }: FaultRequest,
    families: readonly FaultFamily[],
  ): FaultSpec {
    const family = families.find(({ kinds }) => Object.hasOwn(kinds, type));
    const kind = family?.kinds[type];
    if (family === undefined || kind === undefined) {
      const kinds = families.flatMap((one) => Object.keys(one.kinds)).join(", ");
      throw new SimError("invalid_argument", `there is no fault of type "${type}"; the types are ${kinds}`);
    }
    const targets = family.targets();
    if (!targets.includes(target))
      throw new SimError(
        "not_found",
        `a fault of type ${type} cannot be on "${target}"; it can be on ${some(targets)}`,
      );
    if (kind.steady === true && probability !== 1)
      throw new SimError("invalid_argument", `a fault of type ${type} is there or not: it takes no probability`);
    if (!(probability > 0 && probability <= 1))
      throw new SimError("invalid_argument", `the probability ${probability} is not above 0 and at most 1`);
    const unknown = Object.keys(attributes).find((key) => !Object.hasOwn(kind.attributes, key));
    if (unknown !== undefined) {
      const known = Object.keys(kind.attributes).join(", ") || "none";
      throw new SimError("invalid_argument", `a fault of type ${type} has no attribute "${unknown}"; it has ${known}`);
    }
    const complete: Record<string, string> = {};
    for (const [key, attribute] of Object.entries(kind.attributes)) {
      const value = attributes[key] ?? attribute.default;
      if (!attribute.pattern.test(value))
        throw new SimError(
          "invalid_argument",
          `${key} "${value}" is not ${attribute.help} (${attribute.pattern.source})`,
        );
      complete[key] = value;
    }
    const given = name ?? this.#freeName(type);
    if (!NAME.test(given))
      throw new SimError("invalid_argument", `"${given}" is no name for a fault: letters, digits, "_", "." and "-"`);
    if (this.#faults.some((other) => other.name === given))
      throw new SimError("already_exists", `there is a fault called "${given}" already: choose another name`);
    return { name: given, type, target, probability, attributes: complete };
  }

  #freeName(type: string): string {
    for (let number = 1; ; number++) {
      const name = `${type}-${number}`;
      if (!this.#faults.some((other) => other.name === name)) return name;
    }
  }

  async #save(faults: readonly FaultSpec[]): Promise<void> {
    await replaceFile(this.#file, `${JSON.stringify({ format: FORMAT, faults }, undefined, 2)}\n`);
    this.#faults = faults;
  }
}

/** Of a list that may be as long as that of the volumes. */
function some(targets: readonly string[]): string {
  const rest = targets.length - MOST_NAMED;
  return `${targets.slice(0, MOST_NAMED).join(", ") || "nothing now"}${rest > 0 ? ` and ${rest} more` : ""}`;
}

function read(name: string, log: (message: string) => void): readonly FaultSpec[] {
  try {
    return file.parse(JSON.parse(fs.readFileSync(name, "utf8"))).faults;
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") log(`${name} cannot be understood, so there are no faults: ${error}`);
    return [];
  }
}
