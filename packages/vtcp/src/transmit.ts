/** What is sent, and when: called for each marked connection at the batch's end. */

import type { Connection } from './connection.ts';
import { emitAck, emitData, emitReset, emitSyn, largestPayload } from './emit.ts';
import { mtuProbe } from './mtu.ts';
import { pacingHolds, pacingSent } from './pacing.ts';
import { scheduleRetransmission } from './schedule.ts';
import { CARRIES_FIN, LOST, MTU_PROBE } from './scoreboard.ts';
import { FIN, PSH } from './segment.ts';
import { seqDiff, seqGe, seqGt, seqLe, seqLt } from './seq.ts';
import {
  CLOSED,
  CWR_PHASE,
  ESTABLISHED,
  LOSS,
  RECOVERY,
  SYN_RECEIVED,
  SYN_SENT,
  TIME_WAIT,
  TIMER_PERSIST,
  TIMER_RTO,
} from './state.ts';

const NEVER = Number.POSITIVE_INFINITY;
/** How long a short segment waits for more while corked. */
const CORK_LIMIT = 200;

export function transmit(c: Connection): void {
  if (c.stateNumber === CLOSED) {
    if (c.resetOwed) {
      c.resetOwed = false;
      emitReset(c);
    }
    c.stack.remove(c);
    return;
  }
  if (c.stateNumber === TIME_WAIT) return;
  if (c.synOwed) {
    c.synOwed = false;
    emitSyn(c, c.config.ecn === true && c.timeouts === 0);
    if (c.retransAt === NEVER) c.retransAt = c.stack.now + c.rtt.rto;
  }
  if (c.stateNumber >= ESTABLISHED) {
    if (c.ackNow && c.receive.hasPieces) acknowledge(c);
    retransmitLost(c);
    sendNew(c);
  }
  if (c.ackNow && c.stateNumber !== SYN_SENT && c.stateNumber !== CLOSED) acknowledge(c);
  if (c.ackDelayed && c.ackAt === NEVER) c.ackAt = c.stack.now + c.config.delayedAck;
}

/** One acknowledgement a batch; more only for what one cannot say. */
function acknowledge(c: Connection): void {
  // Without SACK the number of duplicates is the only news of what arrived (RFC 5681 §3.2).
  let count = c.sackOn ? 1 : Math.min(Math.max(1, c.ackCount), 64);
  const pieces = c.sackOn ? Math.min(c.ackCount, c.receive.pieces?.ranges.length ?? 0) : 0;
  const perAck = c.tsOn ? 3 : 4;
  const oldest = pieces > perAck ? Math.min(Math.ceil(pieces / perAck), 8) : 1;
  if (c.sackOn) count = oldest;
  for (let i = count - 1; i >= 0; i--) emitAck(c, sendSeq(c), c.sackOn ? i * perAck : 0);
}

/** RFC 9293 §3.10.7: an acknowledgement alone carries SND.NXT. In SYN-RECEIVED only the SYN has been sent. */
function sendSeq(c: Connection): number {
  return c.stateNumber === SYN_RECEIVED ? (c.iss + 1) | 0 : c.nxt;
}

function retransmitLost(c: Connection): void {
  const board = c.board;
  for (;;) {
    const index = c.frtoHold ? -1 : board.nextLost();
    if (index < 0) return;
    const sent = board.at(index);
    const len = seqDiff(sent.end, sent.seq);
    // What lies beyond a window that shrank has to wait; the first segment keeps the connection going.
    if (index > 0 && seqGt(sent.end, windowEnd(c)) && seqGe(sent.seq, windowEnd(c))) return;
    const room = Math.floor(c.cc.cwnd) - c.inFlight;
    if (room < Math.min(len, c.mss) && c.inFlight > 0) return;
    if (c.config.pacing && c.phase !== LOSS && pacingHolds(c)) return;
    const whole = Math.min(largestPayload(c), Math.max(c.mss, room - (room % c.mss)));
    if (len > whole && len - ((sent.flags & CARRIES_FIN) === 0 ? 0 : 1) > whole) {
      board.split(index, (sent.seq + whole) | 0);
    }
    retransmit(c, index);
    if (c.stateNumber < ESTABLISHED) return;
  }
}

/** Sends the record at `index` again, as it is. */
export function retransmit(c: Connection, index: number): void {
  const sent = c.board.at(index);
  const fin = (sent.flags & CARRIES_FIN) !== 0;
  const len = seqDiff(sent.end, sent.seq);
  const data = len - (fin ? 1 : 0);
  if (!c.retransTsSet) {
    c.retransTsSet = true;
    c.retransTs = c.timestamp();
  }
  if (c.undoOn) c.undoBytes += len;
  c.board.markRetransmitted(sent, c.stack.now);
  c.prr?.onSent(len);
  c.losses.retransmits++;
  c.losses.bytesRetransmitted += data;
  c.stack.stats.retransmits++;
  if (c.config.pacing) pacingSent(c, len);
  if (c.retransAt === NEVER || c.retransKind === TIMER_PERSIST) armRto(c);
  emitData(c, sent.seq, data, fin ? FIN : PSH, true);
}

/** Sends what has not been sent yet, as far as both windows, Nagle and pacing allow. */
function sendNew(c: Connection): void {
  const stack = c.stack;
  let sentAny = false;
  c.cwndLimited = false;
  let blocked = false;
  if (c.nxt === c.una && hasUnsent(c)) resumeAfterIdle(c);
  for (;;) {
    const unsent = Math.max(0, seqDiff(c.send.end, c.nxt));
    const finDue = c.finQueued && !c.finSent;
    if (unsent === 0 && !finDue) break;
    const mss = c.mss;
    const windowRoom = seqDiff(windowEnd(c), c.nxt);
    const outstanding = c.nxt !== c.una;
    if (windowRoom <= 0) {
      blocked = true;
      break;
    }
    let n = Math.min(unsent, windowRoom, largestPayload(c));
    const inFlight = c.inFlight;
    let room = Math.floor(c.cc.cwnd) - inFlight;
    if (inFlight <= 0 && room < mss) room = mss;
    if (room < Math.min(n, mss) || (n === 0 && room <= 0)) {
      c.cwndLimited = true;
      break;
    }
    if (n > room) n = Math.max(mss, room - (room % mss));
    if (c.config.pacing && pacingHolds(c)) break;
    let flags = 0;
    let recordFlags = 0;
    const probe = unsent > mss && n >= mss ? mtuProbe(c, unsent, windowRoom, room) : 0;
    if (probe > 0) {
      n = probe;
      recordFlags = MTU_PROBE;
    } else if (n < unsent) {
      // Not the end of what there is: whole segments only.
      const rest = n % mss;
      if (n > mss) n -= rest;
      else if (rest !== 0 && !worthSending(c, n, outstanding)) {
        blocked = !outstanding;
        break;
      }
    } else {
      const rest = n % mss;
      if (rest !== 0 && !mayEndShort(c, rest)) {
        n -= rest;
        if (n === 0) break;
      }
    }
    if (n === unsent) {
      if (unsent > 0) flags |= PSH;
      // The FIN needs a place in the window of its own.
      if (finDue && windowRoom > n) {
        flags |= FIN;
        recordFlags |= CARRIES_FIN;
      } else if (n === 0) {
        blocked = true;
        break;
      }
    }
    const seq = c.nxt;
    const length = n + ((flags & FIN) === 0 ? 0 : 1);
    if (n % mss !== 0) c.smallEnd = (seq + n) | 0;
    if (!outstanding) c.waitingSince = stack.now;
    c.nxt = (seq + length) | 0;
    if ((flags & FIN) !== 0) c.finSent = true;
    c.noteSent(seq, c.nxt, recordFlags);
    c.prr?.onSent(length);
    if (c.unackedBytes > 0 && n > 0) c.pingPong = true;
    if (c.config.pacing) pacingSent(c, length);
    sentAny = true;
    emitData(c, seq, n, flags, false);
    if (c.stateNumber < ESTABLISHED) return;
  }
  noteUsage(c);
  if (sentAny) scheduleRetransmission(c, true);
  else if (blocked && c.nxt === c.una) armPersist(c);
}

function hasUnsent(c: Connection): boolean {
  return seqGt(c.send.end, c.nxt) || (c.finQueued && !c.finSent);
}

export function windowEnd(c: Connection): number {
  return (c.una + c.sndWnd) | 0;
}

/** A segment cut short by the window goes out when it is half of the largest window seen (RFC 9293 §3.8.6.2.1). */
function worthSending(c: Connection, n: number, outstanding: boolean): boolean {
  return n >= c.maxWnd / 2 || (!outstanding && c.sndWnd >= c.maxWnd / 2 && n > 0 && c.noDelay);
}

/** Nagle (RFC 9293 §3.7.4) in Minshall's form: one short segment may be on its way, not two. */
function mayEndShort(c: Connection, rest: number): boolean {
  if (c.finQueued) return true;
  if (c.corked) {
    if (c.corkAt === NEVER) c.corkAt = c.stack.now + CORK_LIMIT;
    if (c.corkAt > c.stack.now) return false;
    c.corkAt = NEVER;
    return true;
  }
  return c.noDelay || rest === 0 || c.nxt === c.una || seqLe(c.smallEnd, c.una);
}

/** Was it the congestion window that limited this window's flight (RFC 7661 §4.1, in Linux's form)? */
function noteUsage(c: Connection): void {
  const outstanding = seqDiff(c.nxt, c.una);
  if (seqGe(c.una, c.maxOutstandingSeq) || c.cwndLimited || outstanding > c.maxOutstanding) {
    c.maxOutstanding = outstanding;
    c.maxOutstandingSeq = c.nxt;
  }
}

/** True when growing the window makes sense: it was the limit, or slow start uses more than half of it. */
export function isCwndLimited(c: Connection): boolean {
  if (c.phase === LOSS || c.cwndLimited) return true;
  return c.cc.cwnd < c.cc.ssthresh && c.cc.cwnd < 2 * c.maxOutstanding;
}

function resumeAfterIdle(c: Connection): void {
  const idle = c.stack.now - c.lastSentAt;
  if (!c.config.idleRestart || idle <= c.rtt.rto || c.phase === RECOVERY || c.phase === CWR_PHASE)
    return;
  c.cc.onIdle(idle, c.rtt.rto);
}

function armRto(c: Connection): void {
  c.retransKind = TIMER_RTO;
  c.retransAt = c.stack.now + c.rtt.rto;
}

/** Nothing is in flight, something waits, and the peer's window is shut (RFC 9293 §3.8.6.1). */
function armPersist(c: Connection): void {
  if (c.retransAt !== NEVER && c.retransKind === TIMER_PERSIST) return;
  c.retransKind = TIMER_PERSIST;
  c.retransAt = c.stack.now + Math.max(c.rtt.rto, c.config.minRto);
  if (c.waitingSince === NEVER) c.waitingSince = c.stack.now;
}

/** The persist timer fired: a probe that takes no sequence space, or what little the window allows. */
export function sendWindowProbe(c: Connection): void {
  const room = Math.min(seqDiff(windowEnd(c), c.nxt), seqDiff(c.send.end, c.nxt));
  if (room > 0 && c.nxt === c.una) {
    const n = Math.min(room, c.mss);
    const seq = c.nxt;
    c.nxt = (seq + n) | 0;
    c.smallEnd = c.nxt;
    c.noteSent(seq, c.nxt, 0);
    scheduleRetransmission(c, true);
    emitData(c, seq, n, PSH, false);
    return;
  }
  // One below SND.UNA: unacceptable to the peer, who must answer with its window.
  emitAck(c, (c.una - 1) | 0);
}

/** Keepalive (RFC 9293 §3.8.4) looks the same. */
export function sendKeepAlive(c: Connection): void {
  emitAck(c, (c.una - 1) | 0);
}

/** The tail loss probe (RFC 8985 §7.3): new data when there is some, else the last segment again. */
export function sendTailProbe(c: Connection): boolean {
  const unsent = seqDiff(c.send.end, c.nxt);
  const room = seqDiff(windowEnd(c), c.nxt);
  if (unsent > 0 && room >= Math.min(unsent, c.mss)) {
    const n = Math.min(unsent, c.mss);
    const seq = c.nxt;
    let flags = n === unsent ? PSH : 0;
    let recordFlags = 0;
    let length = n;
    if (n === unsent && c.finQueued && !c.finSent && room > n) {
      flags |= FIN;
      recordFlags = CARRIES_FIN;
      length++;
      c.finSent = true;
    }
    c.nxt = (seq + length) | 0;
    c.noteSent(seq, c.nxt, recordFlags);
    c.tlpRetransmitted = false;
    emitData(c, seq, n, flags, false);
    return true;
  }
  const board = c.board;
  const last = board.last;
  if (last === null || seqLt(last.seq, c.una)) return false;
  const len = seqDiff(last.end, last.seq);
  const data = len - ((last.flags & CARRIES_FIN) === 0 ? 0 : 1);
  if (data > c.mss) {
    // Of a super-segment only the last piece.
    const cut = (last.seq + Math.floor((data - 1) / c.mss) * c.mss) | 0;
    board.split(board.length - 1, cut);
  }
  if (((board.last?.flags ?? LOST) & LOST) !== 0) return false;
  c.tlpRetransmitted = true;
  retransmit(c, board.length - 1);
  return true;
}
