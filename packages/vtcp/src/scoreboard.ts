/**
 * What is in flight: one record per transmitted segment (or super-segment), in sequence order in a ring, and those that
 * may still arrive also in order of transmission (RFC 8985 §6.1 walks them so). Bytes are counted, not packets:
 *
 *     in flight ("pipe" of RFC 6675) = outstanding − SACKed − lost + retransmitted
 */

import { RangeSet } from './range-set.ts';
import { seqGe, seqGt, seqLe, seqLt } from './seq.ts';

export const SACKED = 1;
export const LOST = 2;
/** A retransmission of it is in flight. */
export const RETRANSMITTED = 4;
/** Has been retransmitted at some time: no round-trip sample from it (Karn). */
export const EVER_RETRANSMITTED = 8;
/** The last sequence number is the FIN. */
export const CARRIES_FIN = 16;
/** Larger than usual, to probe the path MTU. */
export const MTU_PROBE = 32;

/** More pieces than any honest receiver reports at a time. */
const MAX_SACK_RANGES = 1024;

export class Sent {
  seq = 0;
  end = 0;
  /** Last transmission: when, and the how-manieth of the connection. Several leave in one instant, and not by sequence number. */
  sentAt = 0.5;
  order = 0;
  flags = 0;
  older: Sent | null = null;
  newer: Sent | null = null;
  /** In the list by time. */
  listed = false;
}

/** What one acknowledgement newly covered. One per stack, refilled. */
export class Covered {
  /** Bytes newly acknowledged, or newly SACKed. */
  delivered = 0;
  /** Of them those that the cumulative acknowledgement newly covered and no SACK had. */
  acked = 0;
  sacked = 0;
  /** When the last-sent of the never retransmitted ones was sent; -1 without one. */
  sentAt = -0.5;
  /** Something never retransmitted was covered (RFC 5682's evidence). */
  original = false;
  /** Something never retransmitted below the highest SACK was covered late. */
  reordered = false;
  retransmittedCovered = false;
  probeAcked = false;
  // RACK's newest (RFC 8985 §6.2 step 2).
  newestSentAt = -0.5;
  newestOrder = 0;
  newestEnd = 0;
  newestRetransmitted = false;
  // The highest SACK before this acknowledgement: within one, the order of its blocks says nothing.
  #hadSacked = false;
  #priorHighest = 0;

  reset(board: Scoreboard): void {
    this.#hadSacked = board.sackedBytes > 0;
    this.#priorHighest = board.highestSacked;
    this.delivered = this.acked = this.sacked = 0;
    this.sentAt = -0.5;
    this.original = this.reordered = this.retransmittedCovered = this.probeAcked = false;
    this.newestSentAt = -0.5;
    this.newestEnd = 0;
    this.newestRetransmitted = false;
  }

  /** RFC 8985 §6.2 step 3. */
  isLate(end: number): boolean {
    return this.#hadSacked && seqLt(end, this.#priorHighest);
  }
}

export class Scoreboard {
  sackedBytes = 0;
  /** Records, each a segment or a super-segment. */
  sackedCount = 0;
  lostBytes = 0;
  retransmittedBytes = 0;
  /** Highest SACKed sequence number's end; meaningful while `sackedBytes > 0`. */
  highestSacked = 0;
  oldest: Sent | null = null;
  #newest: Sent | null = null;
  #ring: Sent[] = NO_RECORDS;
  #head = 0;
  #count = 0;
  #order = 0;
  /** Everything below is either not lost or being retransmitted. */
  #lostHint = 0;
  #known: RangeSet | null = null;
  readonly #spare: Sent[];

  /** `spare`: records to use again, shared by the scoreboards of a stack. */
  constructor(spare: Sent[]) {
    this.#spare = spare;
  }

  /** For another connection, of whose transmissions `order` is the last so far. */
  restart(order: number): void {
    this.#order = order;
  }

  get length(): number {
    return this.#count;
  }

  at(index: number): Sent {
    return this.#ring[(this.#head + index) & (this.#ring.length - 1)];
  }

  get first(): Sent | null {
    return this.#count === 0 ? null : this.at(0);
  }

  get last(): Sent | null {
    return this.#count === 0 ? null : this.at(this.#count - 1);
  }

  /** Something is lost and not being retransmitted. */
  get hasLost(): boolean {
    return this.lostBytes > this.retransmittedOfLost;
  }

  /** Bytes that are both lost and retransmitted. */
  retransmittedOfLost = 0;

  push(seq: number, end: number, now: number, flags: number): void {
    const sent = this.#record();
    sent.seq = seq;
    sent.end = end;
    sent.sentAt = now;
    sent.order = this.#order = (this.#order + 1) | 0;
    sent.flags = flags;
    if (this.#count === this.#ring.length) this.#grow();
    this.#ring[(this.#head + this.#count++) & (this.#ring.length - 1)] = sent;
    this.#append(sent);
  }

  /** Removes what lies below `una` and notes what that covers. */
  acknowledge(una: number, covered: Covered): void {
    while (this.#count > 0) {
      const sent = this.at(0);
      if (seqLe(una, sent.seq)) break;
      if (seqLt(una, sent.end)) {
        // A part: later bytes of the same (super-)segment are still out.
        this.#noteCovered(sent, (una - sent.seq) | 0, covered, true);
        sent.seq = una;
        break;
      }
      this.#noteCovered(sent, (sent.end - sent.seq) | 0, covered, true);
      if ((sent.flags & SACKED) !== 0) this.sackedCount--;
      this.#unlink(sent);
      this.#head = (this.#head + 1) & (this.#ring.length - 1);
      this.#count--;
      if (this.#spare.length < 65536) this.#spare.push(sent);
    }
    this.#known?.trim(una);
    if (this.#count === 0) this.#ring = NO_RECORDS;
  }

  /** Takes one SACK block, already checked to lie within what is in flight. `mss` is where super-segments may be cut. */
  sack(start: number, end: number, mss: number, covered: Covered): void {
    if (this.#count === 0) return;
    this.#known ??= new RangeSet(MAX_SACK_RANGES);
    if (this.#known.covering(start, end) !== null) return;
    // A block mostly repeats the last one's beginning: only what is new is walked.
    const from = this.#known.behind(start);
    const range = this.#known.add(start, end);
    if (range === null) return;
    if (this.sackedBytes === 0 || seqGt(end, this.highestSacked)) this.highestSacked = end;
    for (let i = this.#indexOf(from); i < this.#count; i++) {
      let sent = this.at(i);
      if (seqGe(sent.seq, end)) break;
      if ((sent.flags & SACKED) !== 0) continue;
      if (seqLt(sent.seq, range.start)) {
        // Only whole segments count: a receiver does not take halves, but it may have part of a super-segment.
        const cut = sent.seq + Math.ceil(((range.start - sent.seq) | 0) / mss) * mss;
        if (seqGe(cut | 0, sent.end)) continue;
        this.split(i, cut | 0);
        continue;
      }
      if (seqGt(sent.end, range.end)) {
        const whole = Math.floor(((range.end - sent.seq) | 0) / mss) * mss;
        if (whole <= 0) continue;
        this.split(i, (sent.seq + whole) | 0);
        sent = this.at(i);
      }
      this.#noteCovered(sent, (sent.end - sent.seq) | 0, covered, false);
      sent.flags |= SACKED;
      this.sackedBytes += (sent.end - sent.seq) | 0;
      this.sackedCount++;
      this.#unlink(sent);
    }
  }

  markLost(sent: Sent): void {
    const bytes = (sent.end - sent.seq) | 0;
    if ((sent.flags & SACKED) !== 0) return;
    if ((sent.flags & RETRANSMITTED) !== 0) {
      sent.flags &= ~RETRANSMITTED;
      this.retransmittedBytes -= bytes;
      if ((sent.flags & LOST) !== 0) this.retransmittedOfLost -= bytes;
    }
    if ((sent.flags & LOST) === 0) {
      sent.flags |= LOST;
      this.lostBytes += bytes;
    }
    if (seqLt(sent.seq, this.#lostHint) || this.lostBytes === bytes) this.#lostHint = sent.seq;
    this.#unlink(sent);
  }

  markRetransmitted(sent: Sent, now: number): void {
    if ((sent.flags & RETRANSMITTED) === 0) {
      const bytes = (sent.end - sent.seq) | 0;
      this.retransmittedBytes += bytes;
      if ((sent.flags & LOST) !== 0) this.retransmittedOfLost += bytes;
    }
    sent.flags |= RETRANSMITTED | EVER_RETRANSMITTED;
    sent.sentAt = now;
    sent.order = this.#order = (this.#order + 1) | 0;
    this.#unlink(sent);
    this.#append(sent);
  }

  /** Index of the first lost segment that is not being retransmitted, or -1. */
  nextLost(): number {
    if (!this.hasLost) return -1;
    for (let i = this.#indexOf(this.#lostHint); i < this.#count; i++) {
      const sent = this.at(i);
      if ((sent.flags & (LOST | RETRANSMITTED)) === LOST) {
        this.#lostHint = sent.seq;
        return i;
      }
    }
    return -1;
  }

  /** Cuts the record at `index` so that it ends at `seq`; the rest follows as a record of its own. */
  split(index: number, seq: number): void {
    const sent = this.at(index);
    const rest = this.#record();
    rest.seq = seq;
    rest.end = sent.end;
    rest.sentAt = sent.sentAt;
    rest.order = sent.order;
    rest.flags = sent.flags;
    sent.end = seq;
    sent.flags &= ~CARRIES_FIN;
    if ((sent.flags & SACKED) !== 0) this.sackedCount++;
    if (this.#count === this.#ring.length) this.#grow();
    const mask = this.#ring.length - 1;
    for (let i = this.#count; i > index + 1; i--) {
      this.#ring[(this.#head + i) & mask] = this.#ring[(this.#head + i - 1) & mask];
    }
    this.#ring[(this.#head + index + 1) & mask] = rest;
    this.#count++;
    if (sent.listed) {
      rest.listed = true;
      rest.older = sent;
      rest.newer = sent.newer;
      if (sent.newer === null) this.#newest = rest;
      else sent.newer.older = rest;
      sent.newer = rest;
    }
  }

  /** The receiver has dropped what it reported (RFC 2018 §8): nothing is SACKed any more. */
  renege(): void {
    this.#known?.clear();
    for (let i = 0; i < this.#count; i++) this.at(i).flags &= ~SACKED;
    this.sackedBytes = this.sackedCount = 0;
  }

  /** No loss is assumed any more: after a spurious timeout everything counts as in flight. */
  forgetLosses(): void {
    for (let i = 0; i < this.#count; i++) {
      const sent = this.at(i);
      if ((sent.flags & LOST) === 0) continue;
      sent.flags &= ~LOST;
      if (!sent.listed && (sent.flags & SACKED) === 0) this.#append(sent);
    }
    this.lostBytes = 0;
    this.retransmittedOfLost = 0;
  }

  clear(): void {
    for (let i = 0; i < this.#count; i++) {
      const sent = this.at(i);
      sent.older = sent.newer = null;
      sent.listed = false;
      if (this.#spare.length < 65536) this.#spare.push(sent);
    }
    this.#ring = NO_RECORDS;
    this.#head = this.#count = 0;
    this.highestSacked = this.#lostHint = 0;
    this.oldest = this.#newest = null;
    this.#known = null;
    this.sackedCount = 0;
    this.sackedBytes = this.lostBytes = this.retransmittedBytes = this.retransmittedOfLost = 0;
  }

  /** The record that holds `seq`, or the first behind it. */
  #indexOf(seq: number): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const mid = (low + high) >>> 1;
      if (seqLe(this.at(mid).end, seq)) low = mid + 1;
      else high = mid;
    }
    return low;
  }

  #noteCovered(sent: Sent, bytes: number, covered: Covered, cumulative: boolean): void {
    const flags = sent.flags;
    if ((flags & RETRANSMITTED) !== 0) {
      this.retransmittedBytes -= bytes;
      if ((flags & LOST) !== 0) this.retransmittedOfLost -= bytes;
    }
    if ((flags & LOST) !== 0) this.lostBytes -= bytes;
    if (!cumulative) sent.flags &= ~(LOST | RETRANSMITTED);
    if ((flags & SACKED) !== 0) {
      this.sackedBytes -= bytes;
    } else {
      covered.delivered += bytes;
      if (cumulative) covered.acked += bytes;
      else covered.sacked += bytes;
      if ((flags & EVER_RETRANSMITTED) !== 0) {
        covered.retransmittedCovered = true;
      } else {
        covered.original = true;
        if (sent.sentAt > covered.sentAt) covered.sentAt = sent.sentAt;
        if (covered.isLate(sent.end)) covered.reordered = true;
      }
      if ((flags & MTU_PROBE) !== 0) covered.probeAcked = true;
      if (
        covered.newestSentAt < 0 ||
        sentAfter(sent.order, sent.end, covered.newestOrder, covered.newestEnd)
      ) {
        covered.newestSentAt = sent.sentAt;
        covered.newestOrder = sent.order;
        covered.newestEnd = sent.end;
        covered.newestRetransmitted = (flags & EVER_RETRANSMITTED) !== 0;
      }
    }
  }

  #append(sent: Sent): void {
    sent.listed = true;
    sent.older = this.#newest;
    sent.newer = null;
    if (this.#newest === null) this.oldest = sent;
    else this.#newest.newer = sent;
    this.#newest = sent;
  }

  #unlink(sent: Sent): void {
    if (!sent.listed) return;
    sent.listed = false;
    if (sent.older === null) this.oldest = sent.newer;
    else sent.older.newer = sent.newer;
    if (sent.newer === null) this.#newest = sent.older;
    else sent.newer.older = sent.older;
    sent.older = sent.newer = null;
  }

  #record(): Sent {
    return this.#spare.pop() ?? new Sent();
  }

  #grow(): void {
    const ring = this.#ring;
    const size = Math.max(8, ring.length * 2);
    const wider = new Array<Sent>(size);
    for (let i = 0; i < this.#count; i++) wider[i] = this.at(i);
    this.#ring = wider;
    this.#head = 0;
  }
}

/**
 * RFC 8985 §6.2's RACK_sent_after. By count and not by time: what was sent again must not look older than what left in the
 * same instant with a higher sequence number, or it is lost again at once, for ever. Pieces of one super-segment left by `end`.
 */
export function sentAfter(order: number, end: number, order2: number, end2: number): boolean {
  return order === order2 ? seqGt(end, end2) : ((order - order2) | 0) > 0;
}

/** Shared by all scoreboards that hold nothing; its length is what makes the first push grow it. */
const NO_RECORDS: Sent[] = [];

/** The scoreboard of every connection that has nothing in flight. Nothing is ever pushed onto it. */
export const NOTHING_IN_FLIGHT: Scoreboard = new Scoreboard([]);

/** More than this are left to the collector. */
const MAX_SPARE = 1024;

/** Scoreboards of a stack: most connections are idle most of the time, and then own none. */
export class ScoreboardPool {
  readonly records: Sent[] = [];
  readonly #spare: Scoreboard[] = [];

  take(order: number): Scoreboard {
    const board = this.#spare.pop() ?? new Scoreboard(this.records);
    board.restart(order);
    return board;
  }

  give(board: Scoreboard): void {
    board.clear();
    if (this.#spare.length < MAX_SPARE) this.#spare.push(board);
  }
}
