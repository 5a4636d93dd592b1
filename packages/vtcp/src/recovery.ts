/**
 * Loss: how it is noticed (RACK, RFC 8985; SACK counting, RFC 6675; duplicate acknowledgements, RFC 6582), what it does
 * to the window (RFC 5681, RFC 6937), and how a mistaken reaction is taken back (RFC 5682, RFC 3522, RFC 2883).
 */

import { ProportionalRateReduction } from './congestion/prr.ts';
import type { Connection } from './connection.ts';
import { onProbeLost } from './mtu.ts';
import { LOST, MTU_PROBE, RETRANSMITTED, SACKED, type Sent, sentAfter } from './scoreboard.ts';
import { seqDiff, seqGe, seqGt, seqLt } from './seq.ts';
import {
  CWR_PHASE,
  DISORDER,
  ESTABLISHED,
  LOSS,
  OPEN,
  PHASE_NAMES,
  RECOVERY,
  TIMER_REORDER,
} from './state.ts';

/** RFC 8985 §6.2 step 4: how long a widened reordering window is kept. */
const REO_PERSIST = 16;

export function setPhase(c: Connection, phase: number): void {
  if (phase === c.phase) return;
  c.phase = phase;
  if (c.stack.tracing) {
    c.stack.trace(c, 'recovery', {
      phase: PHASE_NAMES[phase],
      cwnd: c.cc.cwnd,
      ssthresh: c.cc.ssthresh,
    });
  }
}

/**
 * Marks what must be considered lost, and begins recovery if that is news. `delivered` bytes were just acknowledged or
 * SACKed; `progress`: the acknowledgement advanced.
 */
export function detectLosses(c: Connection, delivered: number, progress: boolean): void {
  const board = c.board;
  const before = board.lostBytes;
  if (board.length > 0) {
    if (!c.sackOn) markByDuplicates(c);
    else if (c.config.rack) markByTime(c);
    else markByCount(c);
  }
  const news = board.lostBytes > before;
  if (news && c.phase < RECOVERY) enterRecovery(c);
  if ((c.phase === RECOVERY || c.phase === CWR_PHASE) && c.prr !== null) {
    // RFC 6937: while the acknowledgement shows no further loss, slow start's pace is allowed.
    c.cc.cwnd = Math.max(
      c.mss,
      c.prr.window(delivered, c.inFlight, c.cc.ssthresh, c.mss, progress && !news),
    );
  }
}

/** RACK: a segment sent sufficiently before one that was delivered is lost (RFC 8985 §6.2 step 5). */
function markByTime(c: Connection): void {
  if (c.rackSentAt < 0) return;
  const board = c.board;
  const now = c.stack.now;
  const reoWnd = reorderingWindow(c);
  let wait = 0;
  let sent = board.oldest;
  while (sent !== null) {
    const next: Sent | null = sent.newer;
    if (!sentAfter(c.rackOrder, c.rackEnd, sent.order, sent.end)) break;
    const left = sent.sentAt + c.rackRtt + reoWnd - now;
    if (left <= 0) lose(c, sent);
    else if (left > wait) wait = left;
    sent = next;
  }
  if (wait > 0) {
    c.retransKind = TIMER_REORDER;
    c.retransAt = now + wait + 0.001;
  }
}

/** RFC 8985 §6.2 step 4. */
function reorderingWindow(c: Connection): number {
  if (!c.reordering) {
    if (c.phase >= RECOVERY) return 0;
    if (c.board.sackedCount >= c.dupThresh || c.board.sackedBytes >= c.dupThresh * c.mss) return 0;
  }
  if (c.rtt.minRtt === Number.POSITIVE_INFINITY) return 0;
  return Math.min((c.reoSteps * c.rtt.minRtt) / 4, c.rtt.srtt);
}

/** A D-SACK says that a retransmission was needless: the window widens, once per round trip. */
export function widenReorderingWindow(c: Connection): void {
  if (seqLt(c.una, c.reoRound)) return;
  c.reoRound = c.nxt;
  c.reoSteps = Math.min(255, c.reoSteps + 1);
  c.reoPersist = REO_PERSIST;
}

/** RFC 6675 §4 IsLost: enough has been SACKed above it. */
function markByCount(c: Connection): void {
  const board = c.board;
  if (board.sackedBytes === 0) return;
  const bytes = (c.dupThresh - 1) * c.mss;
  let sacked = 0;
  let count = 0;
  for (let i = board.length - 1; i >= 0; i--) {
    const sent = board.at(i);
    if ((sent.flags & SACKED) !== 0) {
      sacked += seqDiff(sent.end, sent.seq);
      count++;
    } else if (count >= c.dupThresh || sacked > bytes) {
      // A retransmission of it may still be on its way; only the timer judges that.
      if ((sent.flags & (LOST | RETRANSMITTED)) === 0) lose(c, sent);
    }
  }
}

/** RFC 6582: three duplicates mean the first segment, and after a partial acknowledgement the next one. */
function markByDuplicates(c: Connection): void {
  const first = c.board.first;
  if (first === null || (first.flags & (LOST | RETRANSMITTED)) !== 0) return;
  const enough = c.dupAcks >= c.dupThresh && c.phase < RECOVERY;
  const partial = c.phase === RECOVERY && c.dupAcks === 0;
  if (!enough && !partial) return;
  if (seqDiff(first.end, first.seq) > c.mss + 1) c.board.split(0, (first.seq + c.mss) | 0);
  lose(c, first);
}

function lose(c: Connection, sent: Sent): void {
  if ((sent.flags & MTU_PROBE) !== 0) onProbeLost(c, sent);
  c.board.markLost(sent);
  if (c.stack.tracing) {
    c.stack.trace(c, 'segment_lost', {
      seq: seqDiff(sent.seq, c.iss),
      len: seqDiff(sent.end, sent.seq),
    });
  }
}

function enterRecovery(c: Connection): void {
  c.recoverSeq = c.nxt;
  c.losses.fastRecoveries++;
  beginUndo(c);
  if (c.phase !== CWR_PHASE) beginReduction(c, false);
  setPhase(c, RECOVERY);
}

/** ECN (RFC 3168 §6.1.2), or a loss that a tail probe repaired: a reduction without retransmission. */
export function enterCwr(c: Connection, byEcn: boolean): void {
  if (c.phase >= CWR_PHASE) return;
  c.recoverSeq = c.nxt;
  c.undoOn = false;
  beginReduction(c, byEcn);
  setPhase(c, CWR_PHASE);
}

function beginReduction(c: Connection, byEcn: boolean): void {
  const window = c.cc.cwnd;
  c.cc.onCongestion(c.inFlight, c.stack.now, byEcn);
  c.prr ??= new ProportionalRateReduction();
  c.prr.begin(window);
  if (c.ecnOn) c.ecnCwr = true;
}

function beginUndo(c: Connection): void {
  c.undoOn = true;
  c.undoSeq = c.una;
  c.undoBytes = 0;
  c.retransTsSet = false;
}

/** The retransmission timer: everything not SACKed is taken for lost (RFC 6675 §5.1, RFC 5681 §3.1). */
export function enterTimeoutRecovery(c: Connection): void {
  const board = c.board;
  const first = board.first;
  if (first !== null && (first.flags & SACKED) !== 0) {
    // The receiver has thrown away what it reported (RFC 2018 §8).
    board.renege();
  }
  const again = c.phase === LOSS && seqLt(c.una, c.recoverSeq);
  // RFC 5682 §2.1 step 1: only the first timeout of an episode can be found spurious.
  c.frto = c.config.frto && !again && (c.phase !== RECOVERY || seqGe(c.una, c.recoverSeq));
  if (!again || c.timeouts === 1) {
    c.cc.onTimeout(c.inFlight, c.stack.now);
    beginUndo(c);
  } else {
    c.cc.cwnd = c.mss;
  }
  c.recoverSeq = c.nxt;
  c.dupAcks = 0;
  c.renoSacked = 0;
  c.tlpOn = false;
  c.frtoHold = false;
  if (c.ecnOn) c.ecnCwr = true;
  for (let i = 0; i < board.length; i++) {
    const sent = board.at(i);
    if ((sent.flags & SACKED) !== 0) continue;
    // What RACK would still wait for need not be sent twice.
    if (
      i > 0 &&
      c.config.rack &&
      c.sackOn &&
      sent.sentAt + c.rackRtt > c.stack.now &&
      c.rackSentAt >= 0
    )
      continue;
    if ((sent.flags & MTU_PROBE) !== 0) onProbeLost(c, sent);
    board.markLost(sent);
  }
  setPhase(c, LOSS);
}

/** What acknowledgements brought, as the phases judge it. */
export interface Evidence {
  progress: boolean;
  /** Something that was never retransmitted has been delivered. */
  original: boolean;
  sacked: boolean;
  duplicate: boolean;
}

/** Moves between the phases after an acknowledgement. True when the caller should only send new data now (F-RTO). */
export function afterAck(c: Connection, evidence: Evidence): void {
  const { progress } = evidence;
  if (c.phase === LOSS) {
    afterAckInLoss(c, evidence);
  } else if (c.phase === RECOVERY) {
    if (mayUndo(c) && progress) undo(c);
    else if (progress && passed(c)) finishReduction(c);
  } else if (c.phase === CWR_PHASE) {
    if (seqGt(c.una, c.recoverSeq) || c.board.length === 0) finishReduction(c);
  }
  if (c.phase <= DISORDER) {
    setPhase(c, c.board.sackedBytes > 0 || c.dupAcks > 0 ? DISORDER : OPEN);
    if (c.undoOn && mayUndo(c) && c.board.lostBytes === 0 && c.undoBytes <= 0) undo(c);
  }
}

/** Past the recovery point. Without SACK duplicates of the last window must not start another reduction (RFC 6582 §4). */
function passed(c: Connection): boolean {
  return c.sackOn ? seqGe(c.una, c.recoverSeq) : seqGt(c.una, c.recoverSeq) || c.board.length === 0;
}

/** F-RTO in its SACK-enhanced form (RFC 5682 §3), with Eifel's test by timestamp (RFC 3522). */
function afterAckInLoss(c: Connection, e: Evidence): void {
  const recovered = seqGe(c.una, c.recoverSeq);
  if (e.progress && mayUndo(c)) {
    undo(c);
    return;
  }
  if (c.frto) {
    // Step 3b: what had not been sent again arrives, so the timeout was spurious.
    if (e.original && (e.progress || e.sacked)) {
      undo(c);
      return;
    }
    if (seqGt(c.nxt, c.recoverSeq)) {
      // Step 3a: after new data a duplicate: the loss was real.
      if (e.sacked || e.duplicate) c.frto = false;
    } else if (e.progress && !recovered) {
      // Step 2b: new data instead of retransmissions, as far as there is some.
      c.recoverSeq = c.nxt;
      if (seqGt(c.send.end, c.nxt) && seqGt((c.una + c.sndWnd) | 0, c.nxt)) {
        c.frtoHold = true;
        return;
      }
      c.frto = false;
    }
  }
  c.frtoHold = false;
  if (recovered) {
    c.frto = false;
    c.timeouts = 0;
    setPhase(c, c.board.sackedBytes > 0 ? DISORDER : OPEN);
    c.undoOn = false;
  }
}

/** Every retransmission was needless: all reported as duplicates, or the first echo is older than the first of them. */
function mayUndo(c: Connection): boolean {
  if (!c.undoOn) return false;
  if (c.retransTsSet && c.undoBytes <= 0) return true;
  return c.retransTsSet && c.tsOn && c.lastEcho !== 0 && seqLt(c.lastEcho, c.retransTs);
}

function undo(c: Connection): void {
  c.undoOn = false;
  c.frto = false;
  c.frtoHold = false;
  c.losses.spuriousRecoveries++;
  c.board.forgetLosses();
  c.cc.onSpurious();
  if (c.phase !== OPEN) setPhase(c, c.board.sackedBytes > 0 ? DISORDER : OPEN);
  // What looked lost was late: be patient with reordering from now on.
  c.reordering = true;
}

function finishReduction(c: Connection): void {
  if (c.cc.ssthresh !== Number.POSITIVE_INFINITY)
    c.cc.cwnd = Math.max(c.mss, Math.floor(c.cc.ssthresh));
  if (c.phase === RECOVERY && c.reoPersist > 0 && --c.reoPersist === 0) c.reoSteps = 1;
  c.dupAcks = 0;
  c.renoSacked = 0;
  setPhase(c, c.board.sackedBytes > 0 ? DISORDER : OPEN);
}

/** What an acknowledgement says about the tail loss probe (RFC 8985 §7.4). */
export function afterTailProbe(
  c: Connection,
  ack: number,
  evidence: Evidence,
  dsack: boolean,
): void {
  if (!c.tlpOn || seqLt(ack, c.tlpHigh) || c.stateNumber < ESTABLISHED) return;
  if (!c.tlpRetransmitted || dsack) {
    c.tlpOn = false;
  } else if (seqGt(ack, c.tlpHigh)) {
    // Exactly one copy was delivered: the other was lost, and the probe repaired it.
    c.tlpOn = false;
    if (c.phase < CWR_PHASE) {
      enterCwr(c, false);
      finishReduction(c);
    }
  } else if (!evidence.progress && !evidence.sacked && evidence.duplicate) {
    c.tlpOn = false;
  }
}
