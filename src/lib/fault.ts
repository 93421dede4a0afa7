/** Faults that users put on the running system: the envelope is the same for all kinds. */
export interface FaultSpec {
  /** The user's name for it, by which it is taken away again. */
  readonly name: string;
  readonly type: string;
  /** What it is on: "sds-1/dev-1", "sds-1" (all its devices), "mdm-2", "agent-1", a volume, … */
  readonly target: string;
  /** From 0 to 1: how often an operation meets it. */
  readonly probability: number;
  readonly attributes: Readonly<Record<string, string>>;
}

/** An attribute of a fault: what values it takes, and which one when none is given. */
export interface Attribute {
  readonly help: string;
  readonly pattern: RegExp;
  readonly default: string;
}

/** What users are told of a kind of fault. */
export interface FaultKindInfo {
  readonly help: string;
  readonly attributes: Readonly<Record<string, Attribute>>;
  /** It is there or not: nothing meets it by chance, so it takes no probability. */
  readonly steady?: true;
}

/** Kinds of faults that are put on the same sort of things. */
export interface FaultFamily {
  /** By the name that users call them. */
  readonly kinds: Readonly<Record<string, FaultKindInfo>>;
  /** What they can be on now. */
  targets(): readonly string[];
  /** Has the system behave as these faults say; also at the start. `removed` were there until now. */
  apply(faults: readonly FaultSpec[], removed: readonly FaultSpec[]): Promise<void>;
}
