/**
 * Disjoint ranges of sequence space in ascending order, adjacent ones merged. Bounded: a peer that makes holes on purpose
 * runs into the limit, not into our memory.
 */

import { seqGe, seqGt, seqLe, seqLt } from './seq.ts';

export interface Range {
  start: number;
  /** First sequence number behind it. */
  end: number;
  /** Rises with every change: tells which ranges changed last (RFC 2018 §4). */
  stamp: number;
}

export class RangeSet {
  readonly ranges: Range[] = [];
  #stamp = 0;
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get isEmpty(): boolean {
    return this.ranges.length === 0;
  }

  /** Adds a range and gives the merged one; null when there are too many pieces. */
  add(start: number, end: number): Range | null {
    const ranges = this.ranges;
    const i = this.#firstEndingAtOrAfter(start);
    if (i === ranges.length || seqLt(end, ranges[i].start)) {
      if (ranges.length >= this.#limit) return null;
      const range = { start, end, stamp: ++this.#stamp };
      ranges.splice(i, 0, range);
      return range;
    }
    const range = ranges[i];
    if (seqLt(start, range.start)) range.start = start;
    if (seqGt(end, range.end)) {
      range.end = end;
      let j = i + 1;
      while (j < ranges.length && seqLe(ranges[j].start, end)) {
        if (seqGt(ranges[j].end, range.end)) range.end = ranges[j].end;
        j++;
      }
      if (j > i + 1) ranges.splice(i + 1, j - i - 1);
    }
    range.stamp = ++this.#stamp;
    return range;
  }

  /** Drops everything below `seq`. */
  trim(seq: number): void {
    const ranges = this.ranges;
    let drop = 0;
    while (drop < ranges.length && seqLe(ranges[drop].end, seq)) drop++;
    if (drop > 0) ranges.splice(0, drop);
    if (ranges.length > 0 && seqLt(ranges[0].start, seq)) ranges[0].start = seq;
  }

  clear(): void {
    this.ranges.length = 0;
  }

  /** The range that covers all of `start … end`, or null. */
  covering(start: number, end: number): Range | null {
    const i = this.#firstEndingAtOrAfter(end);
    if (i === this.ranges.length) return null;
    const range = this.ranges[i];
    return seqLe(range.start, start) && seqGe(range.end, end) ? range : null;
  }

  /** The lowest range that shares a number with `start … end`, or null. */
  overlapping(start: number, end: number): Range | null {
    const i = this.#firstEndingAtOrAfter((start + 1) | 0);
    return i < this.ranges.length && seqLt(this.ranges[i].start, end) ? this.ranges[i] : null;
  }

  /** Behind the range that holds `seq`; `seq` itself when none does. */
  behind(seq: number): number {
    const i = this.#firstEndingAtOrAfter(seq);
    if (i === this.ranges.length) return seq;
    const range = this.ranges[i];
    return seqLe(range.start, seq) ? range.end : seq;
  }

  #firstEndingAtOrAfter(seq: number): number {
    const ranges = this.ranges;
    let low = 0;
    let high = ranges.length;
    while (low < high) {
      const mid = (low + high) >>> 1;
      if (seqLt(ranges[mid].end, seq)) low = mid + 1;
      else high = mid;
    }
    return low;
  }
}
