import type { FaultBook } from "./faults/fault-book.ts";
import { allLayers, familyOf, ownLayer } from "./layers.ts";
import type { Mdm } from "./mdm/mdm.ts";
import type { Id, VolumeRecord } from "./model.ts";
import type { RepairTurns } from "./repair-turns.ts";
import type { Sdc } from "./sdc/sdc.ts";
import type { Session } from "./sdc/session.ts";
import { sessionOf } from "./sessions.ts";

export interface EnginesOptions {
  readonly stateDir: string;
  readonly mdm: Pick<Mdm, "state" | "isCurrent">;
  readonly sdc: Pick<Sdc, "device" | "reload">;
  readonly turns: Pick<RepairTurns, "isRepaired">;
  readonly faults: () => Pick<FaultBook, "on" | "faults">;
  readonly log: (message: string) => void;
}

/** What the engines of attached volumes are told. */
export class Engines {
  readonly #options: EnginesOptions;

  constructor(options: EnginesOptions) {
    this.#options = options;
  }

  /** What the volume's engine has to know, as things are now. */
  session(volume: VolumeRecord): Session {
    const { mdm, stateDir, faults } = this.#options;
    const layers = allLayers(familyOf(mdm.state.volumes.values(), volume));
    const own = layers.get(ownLayer(volume).id);
    if (own === undefined) throw new Error(`volume ${volume.id} is not in its own family`);
    return sessionOf(mdm.state, stateDir, { ...own, sizeBytes: volume.sizeBytes }, faults());
  }

  /** Tells the engines of these volumes, if they are attached, how things stand. One that does not answer learns it when it is run again. */
  async tell(volumes: Iterable<Id>): Promise<void> {
    const { mdm, sdc, turns, log } = this.#options;
    if (!mdm.isCurrent) return;
    await Promise.all(
      [...volumes].map(async (id) => {
        if (turns.isRepaired(id) || (await sdc.device(id)) === undefined) return;
        // As it is now: nothing may be waited for between the look at the state and the writing of the session.
        const volume = mdm.state.volumes.get(id);
        if (volume === undefined) return;
        await sdc.reload(this.session(volume)).catch((error) => log(`volume ${volume.name}: ${error}`));
      }),
    );
  }
}
