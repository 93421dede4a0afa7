import { SimError } from "../lib/errors.ts";
import type { Mdm } from "./mdm/mdm.ts";
import type { Id, VolumeRecord } from "./model.ts";
import type { Attached, Sdc } from "./sdc/sdc.ts";
import type { Session } from "./sdc/session.ts";
import type { VolumeLocks } from "./volume-locks.ts";

export interface MappingsOptions {
  readonly mdm: Pick<Mdm, "state" | "isCurrent" | "commit">;
  readonly sdc: Pick<Sdc, "attach" | "detach" | "fence" | "reload" | "device">;
  readonly locks: Pick<VolumeLocks, "alone">;
  /** What the volume's engine has to know, as things are now. */
  readonly session: (volume: VolumeRecord) => Session;
  /** A volume has no engine any more: its copies may have to be looked after. */
  readonly released: (id: Id) => void;
  /** A volume was taken away from this host, which was mapped to it. */
  readonly preempted: (host: string, volumeName: string) => void;
  readonly log: (message: string) => void;
}

/**
 * Which host has which volume (spec/scaleio.md 1.6). A volume has one writer at a time (design.md, invariant 6): the MDM's word
 * says whose it is, and nobody is let in before the engine of the former one is gone. All hosts are simulated on this machine.
 */
export class Mappings {
  readonly #options: MappingsOptions;
  /** Hosts that get no volume until they are back. */
  readonly #lostHosts = new Set<string>();

  constructor(options: MappingsOptions) {
    this.#options = options;
  }

  /**
   * Maps the volume to a host and makes it a block device. Pre-emption fences the host that has the volume: it cannot write any
   * more when this returns. Throws in_use, no_quorum, state_corrupt, host_failed, and unavailable for a host that is lost.
   */
  attach(id: Id, host: string, { preempt }: { preempt: boolean }): Promise<Attached> {
    return this.#options.locks.alone([id], async () => {
      this.#checkHost(host);
      const attached = await this.#attach(id, host, preempt);
      if (!this.#lostHosts.has(host)) return attached;
      // It was lost meanwhile, and could not be fenced from what it did not have.
      await this.#options.sdc.fence(id);
      throw isLost(host);
    });
  }

  /** The block device of a volume that is mapped to this host; undefined: to whichever. */
  async device(id: Id, host: string | undefined): Promise<string | undefined> {
    const { mdm, sdc } = this.#options;
    const mappedTo = mdm.state.volumes.get(id)?.mappedTo;
    return host === undefined || mappedTo === host ? sdc.device(id) : undefined;
  }

  detach(id: Id, host: string): Promise<{ released: boolean }> {
    return this.#options.locks.alone([id], () => this.#detach(id, host));
  }

  /** A host is lost: what it has mapped stays mapped to it and is not served any more; it gets nothing else. */
  async loseHost(host: string): Promise<void> {
    const { mdm, sdc, locks } = this.#options;
    this.#lostHosts.add(host);
    // Nobody else is let in meanwhile; who is later fences it.
    if (!mdm.isCurrent) return;
    for (const { id, mappedTo } of [...mdm.state.volumes.values()])
      if (mappedTo === host) await locks.alone([id], () => sdc.fence(id));
  }

  hostIsBack(host: string): void {
    this.#lostHosts.delete(host);
  }

  #checkHost(host: string): void {
    if (this.#lostHosts.has(host)) throw isLost(host);
  }

  async #attach(id: Id, host: string, preempt: boolean): Promise<Attached> {
    const { mdm, sdc, session: sessionOf, preempted, log } = this.#options;
    const volume = this.#volume(id);
    const { mappedTo } = volume;
    if (mappedTo !== null && mappedTo !== host && !preempt) {
      throw new SimError(
        "in_use",
        `volume ${volume.name} is mapped to host ${mappedTo}: unmount it there, or allow pre-emption`,
      );
    }
    if (mappedTo !== null && mappedTo !== host) await sdc.fence(id);
    if (mappedTo !== host) await mdm.commit({ type: "volume-mapped", id, to: host });
    if (mappedTo !== null && mappedTo !== host) preempted(mappedTo, volume.name);
    try {
      const session = sessionOf(this.#volume(id));
      const attached = await sdc.attach(session);
      // A node may have gone or come while the engine started, when it could not be told,
      // and a snapshot or a layer beneath may have been removed, or a fault be there.
      const now = sessionOf(this.#volume(id));
      if (signOf(now) !== signOf(session)) await sdc.reload(now);
      return attached;
    } catch (error) {
      await this.#detach(id, host).catch((late) => log(`volume ${volume.name}: ${late}`));
      throw error;
    }
  }

  async #detach(id: Id, host: string): Promise<{ released: boolean }> {
    const { mdm, sdc } = this.#options;
    const mappedTo = mdm.state.volumes.get(id)?.mappedTo ?? null;
    // Somebody else has it now: there is nothing of this host's left to take away.
    if (mappedTo !== null && mappedTo !== host) return { released: true };
    const result = await sdc.detach(id);
    if (!result.released) return result;
    this.#options.released(id);
    if (mappedTo === host) await mdm.commit({ type: "volume-mapped", id, to: null });
    return result;
  }

  #volume(id: Id): VolumeRecord {
    const volume = this.#options.mdm.state.volumes.get(id);
    if (volume === undefined) throw new SimError("not_found", `no volume has the id ${id}`);
    return volume;
  }
}

/** What of a session can change while an engine starts. */
const signOf = ({ mapVersion, absorb, lower, disconnected, devices }: Session) =>
  JSON.stringify([mapVersion, absorb, lower.map(({ id }) => id), disconnected, devices.map(({ faults }) => faults)]);

const isLost = (host: string) =>
  new SimError("unavailable", `host ${host} is lost: \`rexray-sim agent start ${host}\` brings it back`);
