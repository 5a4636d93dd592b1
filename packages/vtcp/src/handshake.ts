/** Opening: SYN-SENT and SYN-RECEIVED (RFC 9293 §3.10.7.3 and .4), and what the options of both SYNs agree on. */

import { challenge } from './acknowledge.ts';
import type { Connection } from './connection.ts';
import { announcedMss } from './emit.ts';
import { ACK, CWR, ECE, FIN, RST, type Segment, SYN } from './segment.ts';
import { seqDiff, seqGt, seqLe } from './seq.ts';
import { ESTABLISHED, EVENT_CONNECTED, EVENT_READABLE, FIN_WAIT_1, SYN_RECEIVED } from './state.ts';

/** Options of a SYN, as the stack's SYN cookies restore them too. */
export interface SynOptions {
  seq: number;
  window: number;
  mss: number;
  windowScale: number;
  sackPermitted: boolean;
  hasTimestamp: boolean;
  tsVal: number;
  /** The SYN asked for ECN (RFC 3168 §6.1.1). */
  ecn: boolean;
}

export function synOptions(segment: Segment): SynOptions {
  return {
    seq: segment.seq,
    window: segment.window,
    mss: segment.mss,
    windowScale: segment.windowScale,
    sackPermitted: segment.sackPermitted,
    hasTimestamp: segment.hasTimestamp,
    tsVal: segment.tsVal,
    ecn: (segment.flags & (ECE | CWR)) === (ECE | CWR),
  };
}

/** Takes a peer's SYN into the connection: sequence space and agreed options. */
export function adoptSyn(c: Connection, syn: SynOptions): void {
  const config = c.config;
  c.irs = syn.seq;
  c.rcvNxt = (syn.seq + 1) | 0;
  c.lastAckSent = c.rcvNxt;
  c.receive.restart(c.rcvNxt);
  c.rcvAdv = (c.rcvNxt + Math.min(65535, c.rcvBuf)) | 0;
  c.sackOn = config.sack && syn.sackPermitted;
  c.tsOn = config.timestamps && syn.hasTimestamp;
  if (c.tsOn) {
    c.tsRecent = syn.tsVal;
    c.tsRecentAt = c.stack.now;
  }
  c.scaleOn = config.windowScale && syn.windowScale >= 0;
  c.sndScale = c.scaleOn ? syn.windowScale : 0;
  if (!c.scaleOn) {
    c.rcvScale = 0;
    c.rcvBuf = Math.min(c.rcvBuf, 65535);
    c.maxRcvBuf = Math.min(c.maxRcvBuf, 65535);
  }
  // RFC 9293 §3.7.1: no option means the default. A tiny one would turn every byte into a packet (VTCP-12).
  if (syn.mss > 0) c.peerMss = Math.max(64, syn.mss);
  c.updateMss();
  c.cc.cwnd = config.initialCwnd * c.mss;
  // An estimate until data shows it: paths are mostly alike both ways.
  c.rcvMss = Math.min(announcedMss(c), c.peerMss) - (c.tsOn ? 12 : 0);
  // RFC 7323 §2.2: the window of a SYN is not scaled (VTCP-10).
  c.sndWnd = c.maxWnd = syn.window;
  c.wl1 = syn.seq;
}

/** A passive open: the SYN that made this connection. */
export function beginPassive(c: Connection, syn: SynOptions): void {
  c.passive = true;
  adoptSyn(c, syn);
  c.ecnOn = syn.ecn && c.config.ecn !== false;
  c.setState(SYN_RECEIVED);
  c.synOwed = true;
  c.stack.mark(c);
}

export function handleSynSent(c: Connection, segment: Segment): void {
  const { flags, ack } = segment;
  const stats = c.stack.stats;
  const acknowledged = (flags & ACK) !== 0;
  if (acknowledged && (seqLe(ack, c.iss) || seqGt(ack, c.nxt))) {
    stats.dropAck++;
    if ((flags & RST) === 0) c.stack.refuse(c, segment);
    return;
  }
  if ((flags & RST) !== 0) {
    if (!acknowledged) {
      stats.dropReset++;
      return;
    }
    stats.resetsIn++;
    c.fail('ECONNREFUSED', 'refused');
    return;
  }
  if ((flags & SYN) === 0) {
    stats.dropState++;
    return;
  }
  c.lastHeardAt = c.stack.now;
  const syn = synOptions(segment);
  adoptSyn(c, syn);
  if (acknowledged) {
    // RFC 3168 §6.1.1: granted by ECE without CWR.
    c.ecnOn = c.config.ecn === true && (flags & (ECE | CWR)) === ECE && c.timeouts === 0;
    timePath(c, segment);
    c.una = ack;
    c.wl2 = ack;
    becomeEstablished(c);
    c.ackNow = true;
    takeSynData(c, segment);
    return;
  }
  // Simultaneous open (RFC 9293 §3.5, figure 7).
  c.ecnOn = syn.ecn && c.config.ecn !== false;
  c.setState(SYN_RECEIVED);
  c.synOwed = true;
  c.stack.mark(c);
}

export function handleSynReceived(c: Connection, segment: Segment): void {
  const { flags, ack } = segment;
  if ((flags & SYN) !== 0) {
    if (segment.seq === c.irs) {
      if ((flags & ACK) !== 0 && ack === c.nxt) {
        // The other half of a simultaneous open.
        completeHandshake(c, segment);
        c.ackNow = true;
        return;
      }
      c.synOwed = true;
      c.stack.mark(c);
    } else {
      c.stack.stats.dropState++;
      challenge(c);
    }
    return;
  }
  if (ack !== c.nxt && (seqLe(ack, c.una) || seqGt(ack, c.nxt))) {
    // RFC 9293 §3.10.7.4: an acknowledgement of something else: a half-open connection of the past.
    c.stack.stats.dropAck++;
    c.stack.refuse(c, segment);
    return;
  }
  completeHandshake(c, segment);
}

function completeHandshake(c: Connection, segment: Segment): void {
  timePath(c, segment);
  c.una = segment.ack;
  // The SYN's own window was not scaled; this one is.
  c.sndWnd =
    c.scaleOn && (segment.flags & SYN) === 0 ? segment.window << c.sndScale : segment.window;
  c.maxWnd = Math.max(c.maxWnd, c.sndWnd);
  c.wl1 = segment.seq;
  c.wl2 = segment.ack;
  becomeEstablished(c);
}

/** The first measure of the path: a SYN that was sent once and its answer (RFC 6298 §2.2), or what timestamps say of a later one. */
function timePath(c: Connection, segment: Segment): void {
  const now = c.stack.now;
  if (c.timeouts > 0) {
    const took = seqDiff(c.timestamp(), segment.tsEcr);
    if (c.tsOn && segment.hasTimestamp && took >= 0 && took < c.rtt.rto) c.rtt.sample(took, now, 1);
    else c.rtt.fallBack();
  } else if (c.segmentsOut > 0) {
    // Otherwise a cookie was sent, and nobody knows when.
    c.rtt.sample(now - c.lastSentAt, now, 1);
  }
}

/** Data and FIN that come with a SYN-ACK are taken up as in ESTABLISHED; the peer may send them (RFC 9293 §3.10.7.3). */
function takeSynData(c: Connection, segment: Segment): void {
  if (segment.dataLen === 0 || (segment.flags & FIN) !== 0) return;
  appendSynData(c, segment);
  c.events |= EVENT_READABLE;
}

/** Data on a SYN waits until the handshake has completed. */
export function appendSynData(c: Connection, segment: Segment): void {
  const room = Math.min(segment.dataLen, seqDiff(c.rcvAdv, c.rcvNxt));
  if (room <= 0) return;
  c.receive.append(segment.buf, segment.dataOff, room);
  c.rcvNxt = c.receive.end;
  c.bytesReceived += room;
}

export function becomeEstablished(c: Connection): void {
  // RFC 6928 §2: one lost SYN may be an accident, more are a sign.
  if (c.timeouts > 1) c.cc.cwnd = c.mss;
  c.timeouts = 0;
  c.rtt.backoff = 0;
  c.retransAt = Number.POSITIVE_INFINITY;
  c.recoverSeq = c.maxOutstandingSeq = c.smallEnd = c.reoRound = c.una;
  c.tuneAt = c.stack.now;
  c.setState(c.finQueued ? FIN_WAIT_1 : ESTABLISHED);
  c.events |= EVENT_CONNECTED;
  if (c.receive.readable > 0) c.events |= EVENT_READABLE;
  c.armKeepAlive();
  c.stack.established(c);
  c.stack.mark(c);
}
