import type { Match, Offer, Reason } from "./offers.ts";

/** An application of which something waits for a place, and why: what the queue shows (spec/marathon.md 6.5). */
export class Waiting {
  readonly since = new Date().toISOString();
  /** Offers that were looked at, and those of them that did not fit. */
  processed = 0;
  unused = 0;
  /** Of the last round: how often each reason was given, and in words. */
  reasons = new Map<Reason, number>();
  texts: string[] = [];
  lastUnused: { readonly offer: Offer; readonly reason: Reason; readonly at: string }[] = [];

  /** The first offer that fits, with its ports; takes down why the others do not. */
  choose(
    offers: readonly Offer[],
    fit: (offer: Offer) => Match,
  ): { offer: Offer; ports: readonly number[] } | undefined {
    this.reasons = new Map();
    this.texts = [];
    this.lastUnused = [];
    for (const offer of offers) {
      this.processed++;
      const answer = fit(offer);
      if ("ports" in answer) return { offer, ports: answer.ports };
      this.unused++;
      this.reasons.set(answer.declined, (this.reasons.get(answer.declined) ?? 0) + 1);
      this.texts.push(answer.text);
      this.lastUnused.push({ offer, reason: answer.declined, at: new Date().toISOString() });
    }
    return undefined;
  }
}
