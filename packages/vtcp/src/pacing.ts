/** Optional pacing: the window is spread over the round trip instead of leaving in one burst. */

import type { Connection } from './connection.ts';

/** Timers have about a millisecond; less than this is not worth waiting for. */
const QUANTUM = 1;

/** Bytes a second: twice the window per round trip while it doubles, 1.2 times later, so that pacing never limits growth. */
export function pacingRate(c: Connection): number {
  if (!c.rtt.hasSample || c.rtt.srtt <= 0) return 0;
  const gain = c.cc.cwnd < c.cc.ssthresh / 2 ? 2 : 1.2;
  return (gain * c.cc.cwnd * 1000) / c.rtt.srtt;
}

/** True when sending has to wait; the deadline is set then. */
export function pacingHolds(c: Connection): boolean {
  if (c.paceNext <= c.stack.now + QUANTUM) return false;
  c.paceAt = c.paceNext;
  return true;
}

export function pacingSent(c: Connection, bytes: number): void {
  const rate = pacingRate(c);
  if (rate === 0) return;
  c.paceNext = Math.max(c.paceNext, c.stack.now) + (bytes * 1000) / rate;
}
