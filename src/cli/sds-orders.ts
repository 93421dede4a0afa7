import type { StatusReport } from "../admin/report.ts";

/** Orders to a node that is there: what help and answer say, and when `--wait` has waited for enough. */
export const SDS_ORDERS = {
  stop: { help: "take a node down, as a power cut would", said: "is stopped", over: healthy },
  start: { help: "bring a node back; what it missed is copied to it", said: "is started", over: healthy },
  maintenance: {
    help: "take a node out for a while; nothing is rebuilt elsewhere until `sds start` ends it",
    said: "is in maintenance",
    over: healthy,
  },
  remove: {
    help: "move all copies away from a node, then remove it",
    said: "is being emptied",
    over: (status: StatusReport, name: string) => !status.sds.some((sds) => sds.name === name),
  },
  "abort-removal": { help: "keep a node or device that is being emptied", said: "stays", over: healthy },
} as const;

export type SdsOrder = keyof typeof SDS_ORDERS;

/** Every chunk has two good copies again; other nodes that are down do not matter. */
export function healthy(status: StatusReport): boolean {
  return status.pools.every(({ health }) => health === "ok");
}
