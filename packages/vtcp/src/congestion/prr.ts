/**
 * Proportional rate reduction (RFC 6937): during a reduction the window follows what is delivered, so that it arrives
 * at `ssthresh` when recovery ends, without a silence and without a burst.
 */

export class ProportionalRateReduction {
  #delivered = 0;
  #out = 0;
  #priorWindow = 1;

  /** Recovery begins; `window` is what the sender was allowed before it. */
  begin(window: number): void {
    this.#delivered = 0;
    this.#out = 0;
    this.#priorWindow = Math.max(1, window);
  }

  onSent(bytes: number): void {
    this.#out += bytes;
  }

  /** The window after an acknowledgement that delivered so much (§3.1). `progress`: it advanced and showed no new loss. */
  window(
    delivered: number,
    inFlight: number,
    ssthresh: number,
    mss: number,
    progress: boolean,
  ): number {
    this.#delivered += delivered;
    let allowed: number;
    if (inFlight > ssthresh) {
      allowed = Math.ceil((this.#delivered * ssthresh) / this.#priorWindow) - this.#out;
    } else {
      // Conservative reduction bound, or slow start reduction bound while things go well.
      let limit = Math.max(this.#delivered - this.#out, delivered);
      if (progress) limit += mss;
      allowed = Math.min(ssthresh - inFlight, limit);
    }
    // The first retransmission goes out at once.
    if (this.#out === 0) allowed = Math.max(allowed, mss);
    return inFlight + Math.max(0, Math.floor(allowed));
  }
}
