/**
 * Retransmission timeout (RFC 6298), smallest round-trip time in a sliding window (RFC 8985 §6.2 step 1 needs it).
 * Milliseconds with fractions throughout.
 */

/** How long a minimum counts: a path may change. */
const MIN_RTT_WINDOW = 300_000;
const FALLBACK = 3000;

export class RttEstimator {
  /** 0 before the first sample. */
  srtt = 0;
  rttvar = 0;
  minRtt: number = Number.POSITIVE_INFINITY;
  /** Consecutive timeouts; each doubles the timeout (§5.5). */
  backoff = 0;
  hasSample = false;
  #minAt = 0;
  #base: number;
  readonly #min: number;
  readonly #max: number;

  constructor(initial: number, min: number, max: number) {
    this.#base = initial + 0.5 - 0.5;
    this.#min = min;
    this.#max = max;
  }

  /** The timeout now, backoff included. */
  get rto(): number {
    return Math.min(this.#max, this.#base * 2 ** this.backoff);
  }

  /** RFC 6298 §5.7: a SYN timed out and nothing has measured the path, so it may be a long one. */
  fallBack(): void {
    if (!this.hasSample) this.#base = Math.min(this.#max, Math.max(this.#base, FALLBACK));
  }

  /** `perRound`: samples expected in a round trip, so that many samples do not shorten the memory (§7.7 of RFC 7323, appendix G). */
  sample(rtt: number, now: number, perRound: number): void {
    if (rtt <= this.minRtt || now - this.#minAt > MIN_RTT_WINDOW) {
      this.minRtt = rtt;
      this.#minAt = now;
    }
    if (!this.hasSample) {
      this.hasSample = true;
      this.srtt = rtt;
      this.rttvar = rtt / 2;
    } else {
      const n = Math.max(1, perRound);
      this.rttvar += (Math.abs(this.srtt - rtt) - this.rttvar) / (4 * n);
      this.srtt += (rtt - this.srtt) / (8 * n);
    }
    // The variance term has a floor: with steady samples it would vanish, and the timeout come down on the path's own time.
    this.#base = Math.min(this.#max, this.srtt + Math.max(this.#min, 4 * this.rttvar));
  }
}
