/** The acknowledgement side of a segment (RFC 9293 §3.10.7.4, fifth step): what has arrived, and what that says about loss. */

import type { Connection } from './connection.ts';
import { onProbeAcknowledged } from './mtu.ts';
import {
  afterAck,
  afterTailProbe,
  detectLosses,
  type Evidence,
  enterCwr,
  widenReorderingWindow,
} from './recovery.ts';
import { restartRetransmission, scheduleRetransmission } from './schedule.ts';
import { type Covered, sentAfter } from './scoreboard.ts';
import { ECE, FIN, type Segment, SYN } from './segment.ts';
import { seqDiff, seqGe, seqGt, seqLe, seqLt, seqMin } from './seq.ts';
import { EVENT_WRITABLE, TIMER_PERSIST, TIMER_REORDER } from './state.ts';
import { isCwndLimited } from './transmit.ts';

const NEVER = Number.POSITIVE_INFINITY;
/** Differences of fractional milliseconds are not exact. */
const CLOCK_NOISE = 0.01;

/** Shared scratch: one acknowledgement at a time is judged, and nothing is called out meanwhile. */
const evidence: Evidence = { progress: false, original: false, sacked: false, duplicate: false };

/** Takes in ACK, window and SACK blocks. False when the segment must be dropped. */
export function handleAck(c: Connection, segment: Segment): boolean {
  const { stack, board } = c;
  const ack = segment.ack;
  if (seqGt(ack, c.nxt)) {
    // RFC 5961 §5: of what was never sent.
    stack.stats.dropAck++;
    challenge(c);
    return false;
  }
  if (seqLt(ack, c.una)) {
    if (seqDiff(c.una, ack) > Math.max(c.maxWnd, 65535)) {
      // RFC 5961 §5: too old to be honest.
      stack.stats.dropAck++;
      challenge(c);
      return false;
    }
    // Old news overall, but its SACK blocks may be new.
    if (segment.sackCount > 0 && c.sackOn && board.length > 0) oldAck(c, segment);
    return true;
  }
  const covered = stack.covered;
  covered.reset(board);
  const priorUna = c.una;
  const priorInFlight = c.inFlight;
  const windowMoved = updateWindow(c, segment);
  if (c.tsOn && segment.hasTimestamp) c.lastEcho = segment.tsEcr;
  c.probesOut = 0;

  let dsack = false;
  if (c.sackOn && segment.sackCount > 0) dsack = takeSackBlocks(c, segment, covered);
  const progress = ack !== priorUna;
  if (progress) advance(c, ack, covered);
  if (covered.delivered > 0) sampleRtt(c, segment, covered, progress);
  if (covered.reordered) noteReordering(c);

  evidence.progress = progress;
  evidence.original = covered.original;
  evidence.sacked = covered.sacked > 0;
  // RFC 5681 §2: no data, no SYN or FIN, the same acknowledgement and window while something is outstanding.
  evidence.duplicate =
    !progress &&
    !windowMoved &&
    segment.dataLen === 0 &&
    (segment.flags & (SYN | FIN)) === 0 &&
    c.nxt !== c.una;
  let delivered = covered.delivered;
  if (!c.sackOn) delivered += countDuplicates(c, progress ? covered.acked : 0);
  else if (evidence.duplicate && covered.sacked > 0) c.losses.duplicateAcks++;
  updateRack(c, covered);
  if (covered.probeAcked) onProbeAcknowledged(c);

  afterTailProbe(c, ack, evidence, dsack);
  if (board.length === 0 && progress) c.tlpOn = false;
  if (c.ecnOn && (segment.flags & ECE) !== 0 && progress) enterCwr(c, true);
  const reduced = c.phase !== 0 && c.phase !== 1 && c.phase !== 4;
  afterAck(c, evidence);
  detectLosses(c, delivered, progress);
  if (!reduced && delivered > 0 && (progress || c.reordering) && c.phase !== 3 && c.phase !== 2) {
    openWindow(c, delivered, covered, priorInFlight);
  }
  if (progress || (covered.sacked > 0 && c.retransKind !== TIMER_REORDER)) rearm(c, progress);
  else if (windowMoved && c.retransKind === TIMER_PERSIST && c.sndWnd > 0) {
    c.retransAt = NEVER;
    c.rtt.backoff = 0;
  }
  stack.mark(c);
  if (stack.tracing) traceMetrics(c);
  return true;
}

/** RFC 9293 §3.10.7.4: only a segment that is not older than the one which set it changes the window (VTCP-10). */
function updateWindow(c: Connection, segment: Segment): boolean {
  const fresh =
    seqGt(segment.ack, c.una) ||
    seqGt(segment.seq, c.wl1) ||
    (segment.seq === c.wl1 && seqGe(segment.ack, c.wl2));
  if (!fresh) return false;
  const scaled =
    (segment.flags & SYN) === 0 && c.scaleOn ? segment.window << c.sndScale : segment.window;
  // Without an acknowledgement and with the same sequence only a larger window is news.
  const moved = scaled !== c.sndWnd;
  c.sndWnd = scaled;
  if (scaled > c.maxWnd) c.maxWnd = scaled;
  c.wl1 = segment.seq;
  c.wl2 = segment.ack;
  return moved;
}

function advance(c: Connection, ack: number, covered: Covered): void {
  const bytes = seqDiff(ack, c.una);
  c.board.acknowledge(ack, covered);
  c.una = ack;
  c.bytesAcked += bytes;
  c.timeouts = 0;
  c.softError = null;
  const kept = seqMin(ack, c.send.end);
  if (seqGt(kept, c.send.start)) c.send.release(kept);
  c.waitingSince = c.una === c.nxt ? NEVER : c.stack.now;
  if (c.wantsWrite && c.writable >= c.sendLimit / 3) {
    c.wantsWrite = false;
    c.notify(EVENT_WRITABLE);
  }
}

/** Validates and notes every block; true when the first one reports a duplicate (RFC 2883). */
function takeSackBlocks(c: Connection, segment: Segment, covered: Covered): boolean {
  const blocks = segment.sack;
  const count = segment.sackCount;
  let dsack = false;
  let from = 0;
  const firstStart = blocks[0];
  const firstEnd = blocks[1];
  if (
    seqLt(firstStart, firstEnd) &&
    (seqLe(firstEnd, segment.ack) ||
      (count > 1 && seqLe(blocks[2], firstStart) && seqGe(blocks[3], firstEnd)))
  ) {
    from = 1;
    dsack = noteDsack(c, firstStart, firstEnd);
  }
  for (let i = from; i < count; i++) {
    let start = blocks[2 * i];
    const end = blocks[2 * i + 1];
    // Lies (VTCP-07): empty or turned around, of what was never sent, or of what is acknowledged.
    if (!seqLt(start, end) || seqGt(end, c.nxt) || seqLe(end, segment.ack)) continue;
    if (seqLt(start, segment.ack)) start = segment.ack;
    if (seqLt(start, c.una)) start = c.una;
    if (seqGe(start, end)) continue;
    // A range that hides the first segment would also hide the loss that the acknowledgement tells of: as it is.
    c.board.sack(start, end, c.mss, covered);
  }
  return dsack;
}

function noteDsack(c: Connection, start: number, end: number): boolean {
  // Only what was sent within reason: anything older is not ours.
  if (seqGt(end, c.nxt) || seqDiff(c.nxt, start) > 2 ** 30) return false;
  c.losses.dsacks++;
  if (c.undoOn && seqGe(start, c.undoSeq)) c.undoBytes -= seqDiff(end, start);
  if (c.undoOn && c.undoBytes < 0) c.undoBytes = 0;
  if (c.config.rack && c.lossesSoFar.retransmits > 0) widenReorderingWindow(c);
  return c.tlpOn && seqLe(end, c.tlpHigh) && seqGt(end, (c.tlpHigh - c.mss - 1) | 0);
}

function oldAck(c: Connection, segment: Segment): void {
  const covered = c.stack.covered;
  covered.reset(c.board);
  takeSackBlocks(c, segment, covered);
  if (covered.delivered === 0) return;
  updateRack(c, covered);
  evidence.progress = evidence.duplicate = false;
  evidence.original = covered.original;
  evidence.sacked = true;
  afterAck(c, evidence);
  detectLosses(c, covered.delivered, false);
  c.stack.mark(c);
}

/** Without SACK each duplicate stands for one delivered segment (RFC 5681 §3.2 step 4). Gives the bytes that it stands for. */
function countDuplicates(c: Connection, acked: number): number {
  if (evidence.progress) {
    c.dupAcks = 0;
    c.renoSacked = Math.max(0, c.renoSacked - Math.max(0, acked - c.mss));
    c.renoSacked = Math.min(c.renoSacked, Math.max(0, seqDiff(c.nxt, c.una) - c.mss));
    if (c.board.length === 0) c.renoSacked = 0;
    return 0;
  }
  if (!evidence.duplicate) return 0;
  c.dupAcks++;
  c.losses.duplicateAcks++;
  const before = c.renoSacked;
  const most = Math.max(0, seqDiff(c.nxt, c.una) - c.mss - c.board.lostBytes);
  c.renoSacked = Math.min(before + c.mss, Math.max(before, most));
  return c.renoSacked - before;
}

function sampleRtt(c: Connection, segment: Segment, covered: Covered, progress: boolean): void {
  const now = c.stack.now;
  let rtt = -1;
  // Karn (RFC 6298 §3): only from what was sent once.
  if (covered.sentAt >= 0 && !(covered.retransmittedCovered && progress))
    rtt = now - covered.sentAt;
  else if (progress && c.tsOn && segment.hasTimestamp && segment.tsEcr !== 0) {
    const elapsed = seqDiff(c.timestamp(), segment.tsEcr);
    if (elapsed >= 0 && elapsed < 2 ** 30) rtt = elapsed;
  }
  if (rtt < 0) return;
  c.stack.sample.rtt = rtt;
  const perRound = Math.max(1, c.cc.cwnd / c.mss / 2);
  c.rtt.sample(rtt, now, perRound > 4 ? perRound / 4 : 1);
  if (progress) c.rtt.backoff = 0;
}

/** RFC 8985 §6.2 steps 1 and 2. */
function updateRack(c: Connection, covered: Covered): void {
  if (covered.newestSentAt < 0) return;
  const rtt = c.stack.now - covered.newestSentAt;
  if (covered.newestRetransmitted) {
    // It may be the original that arrived.
    if (rtt < c.rtt.minRtt - CLOCK_NOISE) return;
    // What arrived out of order echoes the time of what came in order before it, and proves nothing.
    const sentTs = (covered.newestSentAt + c.tsOffset) | 0;
    if (c.tsOn && c.lastEcho !== 0 && covered.sacked === 0 && seqLt(c.lastEcho, sentTs)) return;
  }
  c.rackRtt = rtt;
  if (
    c.rackSentAt < 0 ||
    sentAfter(covered.newestOrder, covered.newestEnd, c.rackOrder, c.rackEnd)
  ) {
    c.rackSentAt = covered.newestSentAt;
    c.rackOrder = covered.newestOrder;
    c.rackEnd = covered.newestEnd;
  }
}

function noteReordering(c: Connection): void {
  c.reordering = true;
}

function openWindow(
  c: Connection,
  delivered: number,
  covered: Covered,
  priorInFlight: number,
): void {
  const sample = c.stack.sample;
  sample.now = c.stack.now;
  sample.acked = delivered;
  sample.srtt = c.rtt.srtt;
  if (covered.sentAt < 0) sample.rtt = -1;
  sample.minRtt = c.rtt.minRtt;
  sample.inFlight = priorInFlight;
  sample.cwndLimited = isCwndLimited(c);
  sample.una = c.una;
  sample.nxt = c.nxt;
  c.cc.onAck(sample);
}

function rearm(c: Connection, progress: boolean): void {
  if (c.retransKind === TIMER_REORDER && c.retransAt !== NEVER && c.board.length > 0) return;
  if (progress) restartRetransmission(c);
  else scheduleRetransmission(c, true);
}

/** A challenge ACK (RFC 5961), if the budget of this second allows. */
export function challenge(c: Connection): void {
  if (!c.stack.mayChallenge()) return;
  c.ackNow = true;
  c.stack.mark(c);
}

function traceMetrics(c: Connection): void {
  c.stack.trace(c, 'metrics', {
    cwnd: c.cc.cwnd,
    ssthresh: c.cc.ssthresh === Number.POSITIVE_INFINITY ? -1 : c.cc.ssthresh,
    inFlight: c.inFlight,
    srtt: c.rtt.srtt,
    una: seqDiff(c.una, c.iss),
    window: c.sndWnd,
  });
}
