import type { Layer } from "../../../../src/scaleio/layers.ts";
import type { Id, LayerRef } from "../../../../src/scaleio/model.ts";
import { ALL_SLOTS, BIT, INHERITED, SLOTS } from "../../../../src/scaleio/sdc/layout.ts";
import { BLOCK_BYTES } from "../../../../src/scaleio/sdc/sums.ts";
import type { Standing } from "./invariants.ts";
import { MIB, SECTOR } from "./units.ts";
import type { Mounted, World } from "./world.ts";

/** How the layers stand between two steps, and what syncs that failed have lost of them. */
export class Standings {
  readonly #world: World;
  /** Copies of which failed syncs have lost something in this step. */
  readonly #lost = new Set<string>();
  /** Layers with such losses, until their copies have been compared. */
  readonly #lossy = new Set<string>();

  constructor(world: World) {
    this.#world = world;
    world.disk.lost = (...what) => world.disk.undisturbed(() => this.#judgeLoss(...what));
  }

  /** A step begins. */
  begin(): void {
    this.#lost.clear();
  }

  all(): Standing[] {
    const { layers, volumes, brokenRecords } = this.#world;
    const owners = new Map(volumes.map((volume) => [writtenBy(volume), volume]));
    return [...layers.all().values()].flatMap((layer) => {
      const owner = owners.get(layer.id);
      // A volume that had to be left half-way is looked at when it has been opened again, one whose records cannot be written
      // when they can.
      const isOpen = owner === undefined || owner.store !== undefined;
      return isOpen && !brokenRecords.has(`/sdc/${layer.id}/`) ? [this.#standing(layer, owner)] : [];
    });
  }

  of(volume: Mounted): Standing {
    return this.#standing(this.#world.layers.all().get(writtenBy(volume)) as Layer, volume);
  }

  #standing(layer: Layer, owner: Mounted | undefined): Standing {
    const { layers, rotten } = this.#world;
    const compared =
      owner === undefined ? layers.activeRegions(layer).length === 0 : owner.store?.status().unsyncedChunks === 0;
    if (compared) this.#lossy.delete(layer.id);
    return {
      layer,
      states: Uint8Array.from(layers.ledger(layer)),
      model: this.#lossy.has(layer.id) ? undefined : owner?.model,
      compared,
      failed: this.#failedFor(owner),
      isRotten: (chunk) => rotten.has(`${layer.id}:${chunk}`),
    };
  }

  #failedFor(owner: Mounted | undefined): Set<number> {
    const names = new Set(owner?.store?.status().failedDevices.map(({ name }) => name));
    const { pool } = this.#world;
    return new Set(pool.present.filter((device) => names.has(pool.name(device))));
  }

  /** Whether what an engine has lost it has nowhere else. */
  isLost(volume: Mounted): boolean {
    const layer = this.#world.layers.all().get(writtenBy(volume));
    if (layer === undefined || volume.losses.length === 0) return false;
    const states = this.#world.layers.ledger(layer);
    return volume.losses.some(({ directory, chunk }) =>
      this.#goodOf(states, chunk).every((other) => other === directory),
    );
  }

  /** The directories of the devices that have good copies of a chunk. */
  #goodOf(states: Uint8Array, chunk: number): string[] {
    const { pool } = this.#world;
    const group = pool.groups[chunk];
    return SLOTS.filter((slot) => (group?.[slot] ?? -1) >= 0 && ((states[chunk] ?? ALL_SLOTS) & BIT[slot]) === 0).map(
      (slot) => pool.directory(group?.[slot] as number),
    );
  }

  /**
   * A sync has failed. That is excused where no other copy was good: it is a second failure, and whoever flushes is told. By
   * the ledger as it is at that moment, for soon the copy may be the source of others.
   */
  #judgeLoss(path: string, position: number, length: number, copied: boolean): void {
    const { layers, volumes, checksum, trace } = this.#world;
    const [, directory, id, sums] = /^(\/sds\/\d+\/)(\w+)\.vol(\.sum)?$/.exec(path) ?? [];
    const volume = volumes.find((other) => writtenBy(other) === id);
    if (id === undefined || directory === undefined || volume === undefined) return;
    volume.flushMayFail = true;
    if (sums !== undefined) return;
    this.#lossy.add(id);
    const states = layers.ledger(layers.all().get(id) as LayerRef);
    trace(`  a sync of ${path} failed, ${length / SECTOR} sectors from ${position / SECTOR}`);
    for (let chunk = Math.floor(position / MIB); chunk * MIB < position + length; chunk++) {
      // What an unfinished copy has left there nobody goes by.
      if (((states[chunk] ?? 0) & INHERITED) !== 0) continue;
      const good: readonly string[] = this.#goodOf(states, chunk).filter(
        (other) => other === directory || !this.#lost.has(`${other}${id}:${chunk}`),
      );
      this.#lost.add(`${directory}${id}:${chunk}`);
      if (good.length !== 1 || good[0] !== directory) continue;
      const from = Math.max(position, chunk * MIB);
      const to = Math.min(position + length, (chunk + 1) * MIB);
      // The block's checksum is of what it should hold: all of it is lost with a part.
      const unit = checksum ? BLOCK_BYTES : SECTOR;
      const [first, end] = [Math.floor(from / unit) * unit, Math.ceil(to / unit) * unit];
      for (let at = first; at < end; at += SECTOR) volume.model.suspect(at / SECTOR);
      // Whoever waits for a copy is told by what it is made for.
      if (!copied) volume.losses = [...volume.losses, { directory, chunk, step: this.#world.step }];
    }
  }
}

/** The layer that the volume's engine writes to: the one of which it was told last, not always the one that the MDM knows of. */
function writtenBy({ store, session, followed }: Mounted): Id {
  return (store === undefined ? session : followed).layerId;
}
