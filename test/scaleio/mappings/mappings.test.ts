import t from "tap";
import { Mappings } from "../../../src/scaleio/mappings.ts";
import type { SystemState, VolumeRecord } from "../../../src/scaleio/model.ts";
import { RepairTurns } from "../../../src/scaleio/repair-turns.ts";
import type { EngineStatus, Session } from "../../../src/scaleio/sdc/session.ts";
import { VolumeLocks } from "../../../src/scaleio/volume-locks.ts";
import { testLives } from "../../helpers/lives.ts";
import { Simulation } from "./simulation.ts";

const STEPS = 30;

t.test("lives of a volume that three hosts want: it has one writer at a time", { timeout: 0 }, (t) =>
  testLives(t, Simulation, STEPS),
);

t.test("an engine is told what has changed of the layers beneath while it started", async (t) => {
  for (const [what, changed] of Object.entries<Partial<Session>>({
    nothing: {},
    "the map": { mapVersion: 2 },
    "what is to be absorbed": { absorb: 1 },
    "a layer that is gone": { lower: [] },
    "a fault on a device": { devices: [{ faults: [{ name: "f" }] }] as unknown as Session["devices"] },
    "the network": { disconnected: { limitMs: 0 } },
  })) {
    const volume = { id: "v", name: "v", mappedTo: null } as VolumeRecord;
    let session = {
      ...{ volumeId: "v", mapVersion: 1, absorb: 0, lower: [{ id: "l" }], devices: [{}] },
    } as unknown as Session;
    const told: Session[] = [];
    const mappings = new Mappings({
      mdm: {
        state: { volumes: new Map([["v", volume]]) } as unknown as SystemState,
        isCurrent: true,
        commit: async () => undefined,
      },
      sdc: {
        async attach() {
          session = { ...session, ...changed };
          return { device: "/dev/loop0", blank: true };
        },
        async reload(now) {
          told.push(now);
          return {} as EngineStatus;
        },
        detach: async () => ({ released: true }),
        fence: async () => undefined,
        device: async () => undefined,
      },
      locks: new VolumeLocks(new RepairTurns()),
      session: () => session,
      released: () => undefined,
      preempted: () => undefined,
      log: () => undefined,
    });
    await mappings.attach("v", "a", { preempt: false });
    t.same(told, what === "nothing" ? [] : [session], what);
  }
});

t.test("who waits for the volumes that share a layer waits for those too that come to share it", async (t) => {
  const locks = new VolumeLocks(new RepairTurns());
  const sharing = ["v1"];
  const happened: string[] = [];
  let over = () => {};
  const snapshot = locks.alone(["v1"], () => new Promise<void>((resolve) => (over = resolve)));
  await new Promise((resolve) => setImmediate(resolve));
  const absorbed = locks.all(
    () => [...sharing],
    async () => void happened.push("absorbed"),
  );
  sharing.push("v2");
  const attached = locks.alone(["v2"], async () => {
    await snapshot;
    await new Promise((resolve) => setImmediate(resolve));
    happened.push("attached");
  });
  over();
  await Promise.all([absorbed, attached]);
  t.same(happened, ["attached", "absorbed"]);
});
