/**
 * The window of data message counters that have been received (whitepaper §5.4.6, after RFC 6479). Asked only for
 * messages whose tag was right: a forged counter must not move it.
 *
 * While counters come in order there is nothing to remember but the next one. The bitmap, 1 KiB for 8192 counters, is
 * made at the first gap, so that an idle session or one without loss has none.
 *
 * Counters are 64 bits in two unsigned halves.
 */

import { REPLAY_WINDOW } from './constants.ts';

const WORDS = REPLAY_WINDOW / 32;
const WORD_MASK = WORDS - 1;

export class ReplayWindow {
  /** One above the largest counter received. */
  #nextLow = 0;
  #nextHigh = 0;
  /** Bit `counter mod 8192`; null while every counter below `next` has been received. */
  #bits: Int32Array | null = null;
  #accepted = 0;

  /** Messages accepted. */
  get accepted(): number {
    return this.#accepted;
  }

  /** Counters below the largest one that have not come (yet): what the path lost, as far as it is known. */
  get missing(): number {
    return this.#nextHigh * 0x100000000 + this.#nextLow - this.#accepted;
  }

  /** Marks a counter as received; false when it was before, or is too old to tell. */
  accept(low: number, high: number): boolean {
    // Exact up to 2^53; beyond that it is only large, with the right sign.
    const ahead = (high - this.#nextHigh) * 0x100000000 + (low - this.#nextLow);
    if (ahead === 0) {
      // In order: the common case.
      if (this.#bits !== null) this.#bits[(low >>> 5) & WORD_MASK] |= 1 << (low & 31);
      this.#advance(low, high);
      return true;
    }
    if (ahead > 0) {
      this.#skip(ahead);
      (this.#bits as Int32Array)[(low >>> 5) & WORD_MASK] |= 1 << (low & 31);
      this.#advance(low, high);
      return true;
    }
    if (ahead < -REPLAY_WINDOW || this.#bits === null) return false;
    const word = (low >>> 5) & WORD_MASK;
    const bit = 1 << (low & 31);
    if ((this.#bits[word] & bit) !== 0) return false;
    this.#bits[word] |= bit;
    this.#accepted++;
    return true;
  }

  #advance(low: number, high: number): void {
    this.#accepted++;
    if (low === 0xffffffff) {
      this.#nextLow = 0;
      this.#nextHigh = high + 1;
    } else {
      this.#nextLow = low + 1;
      this.#nextHigh = high;
    }
  }

  /** Clears the bits of `count` counters from `next` on: they were skipped. */
  #skip(count: number): void {
    if (this.#bits === null) {
      this.#bits = new Int32Array(WORDS).fill(-1);
      // Counters "before the first" are not ones that may come: they read as received.
    }
    const bits = this.#bits;
    if (count >= REPLAY_WINDOW) {
      bits.fill(0);
      return;
    }
    let at = this.#nextLow % REPLAY_WINDOW;
    let left = count;
    while (left > 0) {
      const shift = at & 31;
      const run = Math.min(32 - shift, left);
      // A shift by 32 would be one by 0.
      const mask = run === 32 ? -1 : ((1 << run) - 1) << shift;
      bits[at >>> 5] &= ~mask;
      at = (at + run) % REPLAY_WINDOW;
      left -= run;
    }
  }
}
