/** HyStart++ (RFC 9406): leaves slow start when the round-trip time rises, through a conservative phase that can be undone. */

import { seqGt } from '../seq.ts';
import type { AckSample } from './congestion.ts';

// Constants of §4.3, milliseconds.
const MIN_RTT_THRESH = 4;
const MAX_RTT_THRESH = 16;
const MIN_RTT_DIVISOR = 8;
const N_RTT_SAMPLE = 8;
const CSS_GROWTH_DIVISOR = 4;
const CSS_ROUNDS = 5;

export class HyStart {
  isDone = false;
  #windowEnd = 0;
  #started = false;
  #lastRoundMin: number = Number.POSITIVE_INFINITY;
  #roundMin: number = Number.POSITIVE_INFINITY;
  #samples = 0;
  #baseline: number = Number.POSITIVE_INFINITY;
  /** Rounds spent in conservative slow start; -1 outside it. */
  #cssRounds = -1;

  /** By what the growth of slow start is divided now. */
  onAck(sample: AckSample): number {
    if (!this.#started || seqGt(sample.una, this.#windowEnd)) {
      this.#started = true;
      this.#windowEnd = sample.nxt;
      this.#lastRoundMin = this.#roundMin;
      this.#roundMin = Number.POSITIVE_INFINITY;
      this.#samples = 0;
      if (this.#cssRounds >= 0 && ++this.#cssRounds >= CSS_ROUNDS) this.isDone = true;
    }
    if (sample.rtt >= 0) {
      this.#samples++;
      if (sample.rtt < this.#roundMin) this.#roundMin = sample.rtt;
    }
    if (this.#samples >= N_RTT_SAMPLE && this.#lastRoundMin !== Number.POSITIVE_INFINITY) {
      if (this.#cssRounds < 0) {
        const thresh = Math.max(
          MIN_RTT_THRESH,
          Math.min(this.#lastRoundMin / MIN_RTT_DIVISOR, MAX_RTT_THRESH),
        );
        if (this.#roundMin >= this.#lastRoundMin + thresh) {
          this.#baseline = this.#roundMin;
          this.#cssRounds = 0;
        }
      } else if (this.#roundMin < this.#baseline) {
        // The rise was noise: slow start goes on.
        this.#baseline = Number.POSITIVE_INFINITY;
        this.#cssRounds = -1;
      }
    }
    return this.#cssRounds >= 0 ? CSS_GROWTH_DIVISOR : 1;
  }
}
