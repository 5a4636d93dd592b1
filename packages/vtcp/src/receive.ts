/** An arriving segment in a synchronized state (RFC 9293 §3.10.7.4, with RFC 5961 and RFC 7323 §5.3). */

import { challenge, handleAck } from './acknowledge.ts';
import type { Connection } from './connection.ts';
import { handleSynReceived, handleSynSent } from './handshake.ts';
import { ACK, CWR, FIN, RST, type Segment, SYN } from './segment.ts';
import { seqDiff, seqGe, seqGt, seqLe, seqLt, seqMax } from './seq.ts';
import {
  CLOSE_WAIT,
  CLOSED,
  CLOSING,
  ESTABLISHED,
  EVENT_END,
  EVENT_READABLE,
  FIN_WAIT_1,
  FIN_WAIT_2,
  LAST_ACK,
  SYN_RECEIVED,
  SYN_SENT,
} from './state.ts';
import { measureReceiveRtt, tuneReceiveBuffer } from './window.ts';

/** An out-of-window segment without data is answered this often at most: two ends cannot keep each other busy (VTCP-14). */
const OOW_INTERVAL = 500;
/** Timestamps older than this say nothing (RFC 7323 §5.5): 24 days. */
const PAWS_IDLE = 24 * 86_400_000;
/** IP's "congestion experienced" (RFC 3168 §5). */
const CE = 3;

export function handleSegment(c: Connection, segment: Segment): void {
  const stats = c.stack.stats;
  c.segmentsIn++;
  if (c.stack.tracing) traceReceived(c, segment);
  if (c.stateNumber === CLOSED) return;
  if (c.stateNumber === SYN_SENT) {
    handleSynSent(c, segment);
    return;
  }
  const flags = segment.flags;
  // PAWS (RFC 7323 §5.3 R1); RST is judged by its sequence number alone.
  if (c.tsOn && segment.hasTimestamp && (flags & RST) === 0) {
    if (seqLt(segment.tsVal, c.tsRecent) && c.stack.now - c.tsRecentAt < PAWS_IDLE) {
      stats.dropPaws++;
      if (segment.length > 0 || oowAllowed(c)) answer(c);
      return;
    }
  }
  if (!acceptable(c, segment)) {
    stats.dropWindow++;
    if ((flags & RST) !== 0) return;
    outOfWindow(c, segment);
    return;
  }
  if ((flags & RST) !== 0) {
    handleReset(c, segment);
    return;
  }
  if ((flags & SYN) !== 0) {
    if (c.stateNumber === SYN_RECEIVED) {
      handleSynReceived(c, segment);
      return;
    }
    // RFC 5961 §4: never a reset; an honest peer that has restarted answers the ACK with RST.
    stats.dropState++;
    challenge(c);
    return;
  }
  if ((flags & ACK) === 0) {
    stats.dropNoAck++;
    return;
  }
  c.lastHeardAt = c.stack.now;
  c.keepProbes = 0;
  if (c.stateNumber === SYN_RECEIVED) {
    handleSynReceived(c, segment);
    if ((c.stateNumber as number) < ESTABLISHED) return;
  }
  // RFC 5961 §5: an impossible acknowledgement changes nothing, or a blind guess at the window could make PAWS refuse the peer.
  if (!handleAck(c, segment)) return;
  // RFC 7323 §4.3: only a segment that reaches back to the last acknowledgement updates the echo.
  if (c.tsOn && segment.hasTimestamp && seqLe(segment.seq, c.lastAckSent)) {
    if (seqGe(segment.tsVal, c.tsRecent)) {
      c.tsRecent = segment.tsVal;
      c.tsRecentAt = c.stack.now;
    }
  }
  if (c.finSent && c.una === c.nxt && finAcknowledged(c)) return;
  if (c.ecnOn) noteEcn(c, segment);
  if (segment.dataLen > 0) handleData(c, segment);
  if ((c.stateNumber as number) === CLOSED) return;
  if ((flags & FIN) !== 0) noteFin(c, segment);
  if (c.finPending && c.finSeq === c.rcvNxt) takeFin(c);
}

/** RFC 9293 §3.4, table 6. A segment without length may also sit right at the window's end, as a blocked sender's does. */
function acceptable(c: Connection, segment: Segment): boolean {
  const { seq, length } = segment;
  if (length === 0) return seqGe(seq, c.rcvNxt) && seqLe(seq, seqMax(c.rcvAdv, c.rcvNxt));
  return seqGt((seq + length) | 0, c.rcvNxt) && seqLt(seq, c.rcvAdv);
}

function outOfWindow(c: Connection, segment: Segment): void {
  if ((segment.flags & SYN) !== 0 && c.stateNumber === SYN_RECEIVED) {
    // The SYN again: our answer was lost.
    handleSynReceived(c, segment);
    return;
  }
  const { dataLen, seq } = segment;
  // A keepalive or window probe, or what came twice: either way the peer must hear where we are.
  if (dataLen > 0 || (segment.flags & FIN) !== 0) {
    if (dataLen > 0 && seqLe((seq + dataLen) | 0, c.rcvNxt)) {
      c.stack.stats.duplicateData++;
      noteDuplicate(c, seq, (seq + dataLen) | 0);
    }
    c.quickAcks = Math.max(c.quickAcks, 4);
    answer(c);
    // The acknowledgement in it still counts: both directions may be busy.
    if (
      (segment.flags & (ACK | SYN)) === ACK &&
      seqLt(seq, c.rcvNxt) &&
      c.stateNumber >= ESTABLISHED
    ) {
      if (handleAck(c, segment) && c.finSent && c.una === c.nxt) finAcknowledged(c);
    }
    return;
  }
  if (oowAllowed(c)) answer(c);
}

function oowAllowed(c: Connection): boolean {
  if (c.stack.now - c.lastOowAck < OOW_INTERVAL && c.lastOowAck <= c.stack.now) return false;
  c.lastOowAck = c.stack.now;
  return true;
}

function answer(c: Connection): void {
  c.ackNow = true;
  c.ackCount++;
  c.stack.mark(c);
}

/** RFC 5961 §3: only a RST at exactly RCV.NXT resets; one elsewhere in the window is challenged. */
function handleReset(c: Connection, segment: Segment): void {
  const stats = c.stack.stats;
  if (segment.seq !== c.rcvNxt) {
    stats.dropReset++;
    challenge(c);
    return;
  }
  stats.resetsIn++;
  switch (c.stateNumber) {
    case SYN_RECEIVED:
      c.fail('ECONNREFUSED', 'refused');
      break;
    case CLOSING:
    case LAST_ACK:
      // RFC 9293 §3.10.7.4: our FIN was out and the peer's had come. What we wrote may yet have been lost.
      if (c.orphan || c.send.length === 0) c.terminate();
      else c.fail('ECONNRESET', 'reset by the peer');
      break;
    default:
      c.fail('ECONNRESET', 'reset by the peer');
  }
}

/** Our FIN has arrived. True when the connection is over. */
function finAcknowledged(c: Connection): boolean {
  switch (c.stateNumber) {
    case FIN_WAIT_1:
      c.setState(FIN_WAIT_2);
      if (c.orphan) c.lifeAt = c.stack.now + c.config.finTimeout;
      return false;
    case CLOSING:
      c.stack.enterTimeWait(c);
      return true;
    case LAST_ACK:
      c.terminate();
      return true;
    default:
      return false;
  }
}

function noteEcn(c: Connection, segment: Segment): void {
  // RFC 3168 §6.1.3: CE is echoed until the sender says CWR.
  if ((segment.flags & CWR) !== 0) c.ecnEcho = false;
  if (segment.ecn === 0) return;
  c.ecnSeen = true;
  if (segment.ecn !== CE) return;
  if (!c.ecnEcho) c.ackNow = true;
  c.ecnEcho = true;
}

function handleData(c: Connection, segment: Segment): void {
  const stats = c.stack.stats;
  const state = c.stateNumber;
  // After the peer's FIN there is no data; only a confused or hostile peer sends some.
  if (state !== ESTABLISHED && state !== FIN_WAIT_1 && state !== FIN_WAIT_2) return;
  let { seq, dataOff, dataLen } = segment;
  const buf = segment.buf;
  let end = (seq + dataLen) | 0;
  if (segment.unit > c.rcvMss) c.rcvMss = segment.unit;
  c.dataSegmentsIn++;
  if (c.orphan && seqGt(end, c.rcvNxt)) {
    // VTCP-15: nobody will read it; the peer must know.
    c.reset('ECONNABORTED', 'data after close');
    return;
  }
  if (seqLt(seq, c.rcvNxt)) {
    noteDuplicate(c, seq, seqLt(end, c.rcvNxt) ? end : c.rcvNxt);
    stats.duplicateData++;
    const cut = seqDiff(c.rcvNxt, seq);
    if (cut >= dataLen) {
      answer(c);
      return;
    }
    seq = c.rcvNxt;
    dataOff += cut;
    dataLen -= cut;
  }
  if (seqGt(end, c.rcvAdv)) {
    // VTCP-09: not a byte past the window.
    dataLen = seqDiff(c.rcvAdv, seq);
    stats.dropWindow++;
    if (dataLen <= 0) {
      answer(c);
      return;
    }
    end = c.rcvAdv;
  }
  // What the peer has ended cannot go on.
  if (c.finPending && seqGt(end, c.finSeq)) return;
  // At the limit of memory a connection may still take what its reader waits for, and nothing that would wait itself.
  if (c.stack.pages.used >= c.stack.pages.limit && (c.receive.readable > 0 || seq !== c.rcvNxt)) {
    stats.dropMemory++;
    return;
  }
  c.stack.mark(c);
  if (seq !== c.rcvNxt) {
    insertOutOfOrder(c, seq, end, buf, dataOff, dataLen);
    return;
  }
  const hadPieces = c.receive.hasPieces;
  if (hadPieces) notePartialDuplicate(c, seq, end);
  const before = c.rcvNxt;
  c.receive.append(buf, dataOff, dataLen);
  c.rcvNxt = c.receive.end;
  const taken = seqDiff(c.rcvNxt, before);
  c.bytesReceived += taken;
  c.events |= EVENT_READABLE;
  c.unackedBytes += taken;
  measureReceiveRtt(c, segment.hasTimestamp ? segment.tsEcr : 0);
  tuneReceiveBuffer(c);
  if (hadPieces) {
    // RFC 5681 §4.2: what fills a gap is acknowledged at once.
    c.ackNow = true;
    c.quickAcks = Math.max(c.quickAcks, 4);
    return;
  }
  // §4.2: at least every second full segment, and within the delay.
  if (c.config.delayedAck === 0 || c.unackedBytes > c.rcvMss || (c.quickAcks > 0 && !c.pingPong)) {
    c.ackNow = true;
  } else {
    c.ackDelayed = true;
  }
}

function insertOutOfOrder(
  c: Connection,
  seq: number,
  end: number,
  buf: Uint8Array,
  off: number,
  len: number,
): void {
  c.stack.stats.outOfOrder++;
  c.quickAcks = Math.max(c.quickAcks, 4);
  const receive = c.receive;
  if (receive.pieces?.covering(seq, end) != null) {
    noteDuplicate(c, seq, end);
    c.stack.stats.duplicateData++;
  } else {
    notePartialDuplicate(c, seq, end);
    if (!receive.insert(seq, buf, off, len)) c.stack.stats.dropPieces++;
  }
  answer(c);
}

/** RFC 2883 §4: the first block of the next acknowledgement reports what came twice. */
function noteDuplicate(c: Connection, start: number, end: number): void {
  if (!c.sackOn) return;
  c.dsackStart = start;
  c.dsackEnd = end;
}

/** RFC 2883 §4.2: a segment that brings news may repeat a piece as well. */
function notePartialDuplicate(c: Connection, start: number, end: number): void {
  const piece = c.receive.pieces?.overlapping(start, end) ?? null;
  if (piece === null || c.dsackStart !== c.dsackEnd) return;
  noteDuplicate(
    c,
    seqLt(piece.start, start) ? start : piece.start,
    seqLt(piece.end, end) ? piece.end : end,
  );
}

function noteFin(c: Connection, segment: Segment): void {
  if (c.finReceived) {
    // Retransmitted: our acknowledgement was lost.
    answer(c);
    return;
  }
  const at = (segment.seq + segment.dataLen) | 0;
  // Beyond the window, or in front of data that has been received already: no place for an end.
  if (seqGe(at, c.rcvAdv) && at !== c.rcvNxt) return;
  if (seqLt(at, c.receive.highest)) return;
  c.finPending = true;
  c.finSeq = at;
  // Its data, out of order like itself, has been answered already.
  if (at !== c.rcvNxt && segment.dataLen === 0) answer(c);
}

function takeFin(c: Connection): void {
  c.finPending = false;
  c.finReceived = true;
  c.rcvNxt = (c.rcvNxt + 1) | 0;
  if (seqGt(c.rcvNxt, c.rcvAdv)) c.rcvAdv = c.rcvNxt;
  c.ackNow = true;
  c.events |= EVENT_END;
  c.stack.mark(c);
  switch (c.stateNumber) {
    case ESTABLISHED:
      c.setState(CLOSE_WAIT);
      break;
    case FIN_WAIT_1:
      // Had our FIN been acknowledged by this segment, the state would be FIN-WAIT-2 by now.
      c.setState(CLOSING);
      break;
    case FIN_WAIT_2:
      c.stack.enterTimeWait(c);
      break;
  }
}

function traceReceived(c: Connection, segment: Segment): void {
  c.stack.trace(c, 'segment_received', {
    seq: seqDiff(segment.seq, c.irs),
    ack: seqDiff(segment.ack, c.iss),
    len: segment.dataLen,
    flags: segment.flags,
    window: segment.window,
  });
}
