import { TEXTS } from "./texts.ts";
import { Violations } from "./violations.ts";

/**
 * Shapes of JSON with the errors that Marathon's parser gives (spec/marathon.md 2, stage 2). A shape answers the value in
 * canonical form: unknown keys dropped, defaults filled in, enumerated words in their own case.
 */
export type Shape<T> = (value: unknown, path: string, found: Violations) => T;

const typed =
  <T>(is: (value: unknown) => value is T, key: string): Shape<T> =>
  (value, path, found) => {
    if (!is(value)) found.add(path, key);
    return value as T;
  };
const isString = (value: unknown): value is string => typeof value === "string";
const isNumber = (value: unknown): value is number => typeof value === "number";
const isBoolean = (value: unknown): value is boolean => typeof value === "boolean";

export const boolean: Shape<boolean> = typed(isBoolean, TEXTS.shape.boolean);

export function string({ pattern, minLength = 0 }: { pattern?: RegExp; minLength?: number } = {}): Shape<string> {
  return (value, path, found) => {
    if (!isString(value)) found.add(path, TEXTS.shape.string);
    else if (value.length < minLength) found.add(path, TEXTS.shape.minLength);
    else if (pattern !== undefined && !pattern.test(value)) found.add(path, TEXTS.shape.pattern);
    return value as string;
  };
}

/** `type`: what is said of a number that is not whole; undefined: it need not be. */
export function number({ min, max, type }: { min?: number; max?: number; type?: "int" | "long" } = {}): Shape<number> {
  return (value, path, found) => {
    if (!isNumber(value)) found.add(path, TEXTS.shape.number);
    else if (type !== undefined && !Number.isSafeInteger(value)) found.add(path, TEXTS.shape[type]);
    else if (min !== undefined && value < min) found.add(path, TEXTS.shape.min);
    else if (max !== undefined && value > max) found.add(path, TEXTS.shape.max);
    return value as number;
  };
}

/** One of these words, in any case. */
export function oneOf<T extends string>(...words: readonly T[]): Shape<T> {
  return (value, path, found) => {
    if (!isString(value)) found.add(path, TEXTS.shape.string);
    const word = words.find((one) => one.toLowerCase() === String(value).toLowerCase());
    if (isString(value) && word === undefined) found.add(path, TEXTS.shape.word);
    return word as T;
  };
}

export function arrayOf<T>(item: Shape<T>): Shape<T[]> {
  return (value, path, found) => {
    if (Array.isArray(value)) return value.map((one, index) => item(one, `${path}(${index})`, found));
    found.add(path, TEXTS.shape.array);
    return [];
  };
}

export function mapOf<T>(item: Shape<T>): Shape<Record<string, T>> {
  return (value, path, found) => {
    if (!isObject(value)) {
      found.add(path, TEXTS.shape.object);
      return {};
    }
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, item(one, `${path}/${key}`, found)]));
  };
}

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

interface Field<T> {
  readonly shape: Shape<T>;
  readonly required: boolean;
  readonly fallback: T | undefined;
}
export const required = <T>(shape: Shape<T>): Field<T> => ({ shape, required: true, fallback: undefined });
export const optional = <T>(shape: Shape<T>, fallback?: T): Field<T> => ({ shape, required: false, fallback });

/** An object with these fields; `null` is as good as absent. */
export function object<T>(fields: { readonly [K in keyof T]-?: Field<NonNullable<T[K]>> }): Shape<T> {
  return (value, path, found) => {
    if (!isObject(value)) {
      found.add(path, TEXTS.shape.object);
      return {} as T;
    }
    const result: Record<string, unknown> = {};
    for (const [name, field] of Object.entries(fields) as [string, Field<unknown>][]) {
      const given = value[name] ?? undefined;
      if (given !== undefined) result[name] = field.shape(given, `${path}/${name}`, found);
      else if (field.required) found.add(`${path}/${name}`, TEXTS.shape.missing(name, value));
      else if (field.fallback !== undefined) result[name] = structuredClone(field.fallback);
    }
    return result as T;
  };
}

/** The first of these that fits; when none does, what the last one says. */
export function firstOf<T>(...shapes: readonly Shape<T>[]): Shape<T> {
  return (value, path, found) => {
    let last = new Violations();
    for (const shape of shapes) {
      last = new Violations();
      const result = shape(value, path, last);
      if (last.none) return result;
    }
    found.addAll(last);
    return {} as T;
  };
}
