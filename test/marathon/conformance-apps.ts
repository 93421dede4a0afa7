/** The applications of the conformance table (spec/marathon.md 10): M, D and V are its names for them. */
export type Json = Record<string, unknown>;

export const NONE = { minimumHealthCapacity: 0, maximumOverCapacity: 0 };
export const V = (more: Json = {}, external: Json = {}, options: Json = {}): Json => ({
  containerPath: "data",
  mode: "RW",
  external: { name: "v1", provider: "dvdi", options: { "dvdi/driver": "rexray", ...options }, ...external },
  ...more,
});
export const M = (volume: Json = V(), more: Json = {}, container: Json = {}): Json => ({
  id: "/m",
  cmd: "sleep 100",
  cpus: 0.1,
  mem: 32,
  container: { type: "MESOS", volumes: [volume], ...container },
  upgradeStrategy: NONE,
  ...more,
});
export const D = (volume: Json = V(), ...others: Json[]): Json =>
  M(volume, {}, { type: "DOCKER", docker: { image: "alpine" }, volumes: [volume, ...others] });
export const without = (object: Json, ...keys: string[]): Json =>
  Object.fromEntries(Object.entries(object).filter(([key]) => !keys.includes(key)));
export const option = (key: string, value: unknown, driver = "rexray") =>
  M(V({}, {}, { "dvdi/driver": driver, [key]: value }));
