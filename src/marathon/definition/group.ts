import { absoluteId } from "./define.ts";
import { arrayOf, isObject, number, object, optional, type Shape, string } from "./shape.ts";
import { TEXTS } from "./texts.ts";
import { refuse, Violations } from "./violations.ts";

/** What a request says of a group (spec/marathon.md 6.5). Applications are read one by one later. */
export interface GroupUpdate {
  readonly id?: string;
  readonly apps?: readonly Record<string, unknown>[];
  readonly groups?: readonly GroupUpdate[];
  readonly dependencies?: readonly string[];
  /** All instances times this. */
  readonly scaleBy?: number;
  /** As it was then. */
  readonly version?: string;
}

/** Deeper ones are refused: nobody means them. */
const DEEPEST = 32;

const anything: Shape<Record<string, unknown>> = (value, path, found) => {
  if (!isObject(value)) found.add(path, TEXTS.shape.object);
  return value as Record<string, unknown>;
};

const shapeAt = (depth: number): Shape<GroupUpdate> =>
  object<GroupUpdate>({
    id: optional(string()),
    apps: optional(arrayOf(anything)),
    groups: optional(
      arrayOf((value, path, found) => {
        if (depth >= DEEPEST) {
          found.add(path, TEXTS.shape.deepGroup(DEEPEST));
          return {};
        }
        return shapeAt(depth + 1)(value, path, found);
      }),
    ),
    dependencies: optional(arrayOf(string())),
    scaleBy: optional(number({ min: 0 })),
    version: optional(string()),
  });

/** Throws 422 in Marathon's form. */
export function readGroup(body: unknown): GroupUpdate {
  const found = new Violations();
  const update = shapeAt(1)(body, "", found);
  const alone = (["scaleBy", "version"] as const).find((key) => update[key] !== undefined);
  const others = Object.keys(update).filter((key) => key !== "id" && key !== alone);
  if (found.none && alone !== undefined && others.length > 0) found.add("/", TEXTS.shape.alone(alone, others));
  refuse(found, "shape");
  return update;
}

/** All applications in it, with absolute ids. */
export function appsOf(
  base: string,
  { apps = [], groups = [] }: GroupUpdate,
): { readonly id: string; readonly json: Record<string, unknown> }[] {
  return [
    ...apps.map((json) => {
      const id = absoluteId(String(json["id"] ?? ""), base);
      return { id, json: { ...json, id } };
    }),
    ...groups.flatMap((group) => appsOf(absoluteId(group.id ?? "", base), group)),
  ];
}

/** It and all groups in it, with absolute paths, and what they depend on. */
export function groupsOf(
  base: string,
  { groups = [], dependencies = [] }: GroupUpdate,
): { readonly path: string; readonly dependencies: readonly string[] }[] {
  const parent = base.replace(/\/[^/]*$/, "");
  return [
    { path: base, dependencies: dependencies.map((other) => absoluteId(other, parent)) },
    ...groups.flatMap((group) => groupsOf(absoluteId(group.id ?? "", base), group)),
  ];
}
