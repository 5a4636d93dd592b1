/** Path MTU: what ICMP says (RFC 1191, RFC 8201), and finding out without it (RFC 4821). */

import type { Connection } from './connection.ts';
import { MTU_PROBE, SACKED, type Sent } from './scoreboard.ts';
import { seqDiff } from './seq.ts';
import { ESTABLISHED, LOSS, OPEN } from './state.ts';

/** What a black hole is first tried with: every path of today carries it (RFC 4821 §7.2 suggests 1024). */
const BASE_MTU = 1064;
const MIN_MTU_4 = 552;
const MIN_MTU_6 = 1280;
/** RFC 4821 §7.7: a larger size is tried again after so long. */
const PROBE_INTERVAL = 600_000;
/** Closer than this is not worth a probe. */
const SEARCH_STEP = 8;

/** The search for the largest size that gets through. */
export class MtuSearch {
  low = 0;
  high: number;
  /** When the next probe may go out. */
  probeAt = 0.5;
  /** Payload of the probe in flight; 0 without one. */
  probeSize = 0;

  constructor(high: number) {
    this.high = high;
  }
}

function headers(c: Connection): number {
  return (c.family === 4 ? 20 : 40) + 20 + (c.tsOn ? 12 : 0);
}

/** An ICMP error that quotes a segment in flight: the path takes `mtu` bytes. */
export function onPacketTooBig(c: Connection, mtu: number): void {
  const lowest = c.family === 4 ? MIN_MTU_4 : MIN_MTU_6;
  const bounded = Math.max(lowest, mtu);
  if (bounded >= c.pathMtu) return;
  c.pathMtu = bounded;
  if (c.mtuSearch !== null) c.mtuSearch.high = bounded;
  c.updateMss();
  resendLarger(c);
}

/** Repeated timeouts of full-sized segments: perhaps only small ones get through. */
export function onBlackHole(c: Connection): void {
  if (!c.config.mtuProbing || c.stateNumber < ESTABLISHED) return;
  const first = c.board.first;
  const lowest = c.family === 4 ? MIN_MTU_4 : MIN_MTU_6;
  if (first === null || c.pathMtu <= lowest) return;
  // Segments that small cross any path; their loss has another cause.
  if (seqDiff(first.end, first.seq) + headers(c) <= BASE_MTU && c.pathMtu > BASE_MTU) return;
  c.mtuSearch ??= new MtuSearch(c.pathMtu);
  const search = c.mtuSearch;
  if (search.high < c.pathMtu) search.high = c.pathMtu;
  c.pathMtu = Math.max(lowest, c.pathMtu > BASE_MTU ? BASE_MTU : c.pathMtu >>> 1);
  search.low = c.pathMtu;
  search.probeAt = c.stack.now + 1000;
  c.updateMss();
}

/**
 * The payload of a probe that should go out now, or 0. It carries stream data: when it is lost, only that data is sent
 * again in ordinary segments.
 */
export function mtuProbe(c: Connection, unsent: number, window: number, room: number): number {
  const search = c.mtuSearch;
  if (search === null || search.high <= c.pathMtu) return 0;
  if (c.phase !== OPEN || c.stack.now < search.probeAt) return 0;
  if (!c.config.mtuProbing || search.probeSize > 0) return 0;
  if (search.high - c.pathMtu < SEARCH_STEP) {
    // Settled. Paths change: the full size gets another chance later.
    search.high = c.stack.mtu;
    search.probeAt = c.stack.now + PROBE_INTERVAL;
    return 0;
  }
  const mtu =
    search.low === c.pathMtu && search.high === c.stack.mtu
      ? search.high
      : (c.pathMtu + search.high + 1) >>> 1;
  const size = mtu - headers(c);
  // Enough behind it to notice its loss by duplicate acknowledgements.
  const needed = size + 3 * c.mss;
  if (unsent < needed || window < needed || room < needed || c.cc.cwnd < 8 * c.mss) return 0;
  search.probeSize = size;
  return size;
}

/** A probe was acknowledged. */
export function onProbeAcknowledged(c: Connection): void {
  const search = c.mtuSearch;
  if (search === null || search.probeSize === 0) return;
  c.pathMtu = search.probeSize + headers(c);
  search.probeSize = 0;
  c.updateMss();
}

/** A probe was lost: the path is narrower. Not a sign of congestion (RFC 4821 §7.5). */
export function onProbeLost(c: Connection, sent: Sent): void {
  sent.flags &= ~MTU_PROBE;
  const search = c.mtuSearch;
  if (search === null || search.probeSize === 0) return;
  search.high = search.probeSize + headers(c) - 1;
  search.low = 0;
  search.probeSize = 0;
}

/** What is in flight in larger pieces than now get through is sent again at once, without a congestion response. */
function resendLarger(c: Connection): void {
  const board = c.board;
  let any = false;
  for (let i = 0; i < board.length; i++) {
    const sent = board.at(i);
    if ((sent.flags & SACKED) !== 0 || seqDiff(sent.end, sent.seq) <= c.mss) continue;
    board.markLost(sent);
    any = true;
  }
  if (!any) return;
  if (c.phase !== LOSS) {
    c.phase = LOSS;
    c.recoverSeq = c.nxt;
    c.undoOn = false;
    c.frto = false;
    if (c.cc.ssthresh > c.cc.cwnd) c.cc.ssthresh = c.cc.cwnd;
  }
  c.stack.mark(c);
}
