/** The window that we offer: how much, when it grows, and the buffer's auto-tuning. */

import type { Connection } from './connection.ts';
import { seqDiff, seqGt } from './seq.ts';

/** While the stack's memory is short a connection gets this much, so that each goes on. */
const SCARCE_WINDOW = 4096;

/**
 * The window field for the next segment. The right edge never moves back (RFC 9293 §3.8.6), and moves on only by a
 * worthwhile step (§3.8.6.2.2, receiver's silly-window avoidance).
 */
export function selectWindow(c: Connection): number {
  const offered = Math.max(0, seqDiff(c.rcvAdv, c.rcvNxt));
  const queued = c.receive.readable;
  let free = Math.max(0, c.rcvBuf - queued);
  if (c.stack.pages.isScarce) free = queued === 0 ? Math.min(free, SCARCE_WINDOW) : 0;
  const scale = c.scaleOn ? c.rcvScale : 0;
  let field: number;
  if (free > offered && free - offered >= Math.min(c.rcvBuf >>> 1, c.rcvMss)) {
    field = free >>> scale;
  } else {
    // Rounded up, so that the shift does not take back what has been offered; but not past the buffer, which a sender of
    // single bytes would widen with every acknowledgement.
    field = (offered + (1 << scale) - 1) >>> scale;
    if (field << scale > free) field = offered >>> scale;
  }
  if (field > 65535) field = 65535;
  // At most 65,535 << 14 (RFC 7323 §2.3), which 32 bits hold; a power would cost more than all the rest here.
  const edge = (c.rcvNxt + (field << scale)) | 0;
  if (seqGt(edge, c.rcvAdv)) c.rcvAdv = edge;
  return field;
}

/**
 * Dynamic right-sizing: once per round trip the buffer grows to twice what the application consumed in it, and by as much
 * again as consumption itself has grown: what is offered now is used a round trip from now, by a sender that doubles.
 */
export function tuneReceiveBuffer(c: Connection): void {
  const now = c.stack.now;
  const round = c.rcvRtt > 0 ? c.rcvRtt : c.rtt.srtt;
  if (now - c.tuneAt < round || c.tuneCopied === 0) return;
  let wanted = 2 * c.tuneCopied + 16 * c.rcvMss;
  if (c.tuneCopied > c.tuneBefore && c.tuneBefore > 0) {
    wanted += 2 * wanted * Math.min(1, (c.tuneCopied - c.tuneBefore) / c.tuneBefore);
  }
  if (wanted > c.rcvBuf && !c.stack.pages.isScarce) {
    c.rcvBuf = Math.min(c.maxRcvBuf, Math.floor(wanted));
  }
  c.tuneBefore = c.tuneCopied;
  c.tuneCopied = 0;
  c.tuneAt = now;
}

/** A pure receiver has no acknowledgements to time: the peer's echo of our timestamps does, or else a window's worth of data. */
export function measureReceiveRtt(c: Connection, echo: number): void {
  const now = c.stack.now;
  if (c.tsOn && echo !== 0) {
    // Once per echo: later segments with the same one only say how long the peer has been sending.
    if (echo === c.rcvEcho) return;
    c.rcvEcho = echo;
    const took = seqDiff(c.timestamp(), echo);
    if (took < 0 || took > 600_000) return;
    if (c.rcvRtt === 0 || took < c.rcvRtt) c.rcvRtt = Math.max(1, took);
    else c.rcvRtt += (took - c.rcvRtt) / 8;
    return;
  }
  if (c.rcvRttSeq === 0) {
    c.rcvRttSeq = (c.rcvNxt + Math.max(c.rcvMss, seqDiff(c.rcvAdv, c.rcvNxt))) | 0;
    c.rcvRttAt = now;
    return;
  }
  if (seqDiff(c.rcvNxt, c.rcvRttSeq) < 0) return;
  const took = now - c.rcvRttAt;
  if (c.rcvRtt === 0 || took < c.rcvRtt) c.rcvRtt = took;
  else c.rcvRtt += (took - c.rcvRtt) / 8;
  c.rcvRttSeq = 0;
}
