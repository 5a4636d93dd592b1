/** When the retransmission deadline is, and what it stands for. */

import type { Connection } from './connection.ts';
import { seqDiff, seqGe } from './seq.ts';
import {
  CWR_PHASE,
  ESTABLISHED,
  OPEN,
  TIMER_PERSIST,
  TIMER_PROBE,
  TIMER_REORDER,
  TIMER_RTO,
} from './state.ts';

const NEVER = Number.POSITIVE_INFINITY;
/** The longest that a peer may delay the acknowledgement of a lone segment (RFC 8985 §7.2's WCDelAckT). */
const WORST_ACK_DELAY = 200;
/**
 * What most stacks delay an acknowledgement by, 40 ms, and two ticks of a timer that has 100 a second. A shorter round trip
 * does not make it come sooner.
 */
const USUAL_ACK_DELAY = 60;

/** A user timeout that comes first decides. */
export function capByUserTimeout(c: Connection, at: number): number {
  const limit = c.config.userTimeout;
  if (limit === 0 || c.waitingSince === NEVER) return at;
  return Math.min(at, Math.max(c.waitingSince + limit, c.stack.now + 1));
}

/**
 * Sets the retransmission deadline after something was sent or acknowledged: a tail loss probe while all is well
 * (RFC 8985 §7.2), else the timeout. `sent`: a timeout that runs already is not put off (RFC 6298 §5.1).
 */
export function scheduleRetransmission(c: Connection, sent: boolean): void {
  if (c.board.length === 0) {
    if (c.retransKind !== TIMER_PERSIST) c.retransAt = NEVER;
    return;
  }
  const now = c.stack.now;
  const first = c.board.first;
  const rto = c.rtt.rto;
  if (mayProbeTail(c)) {
    let pto = c.rtt.hasSample ? 2 * c.rtt.srtt : c.config.initialRto;
    // A lone segment may be acknowledged late, and so may any last one by a receiver whose program is busy.
    if (c.board.length === 1 && seqDiff(c.nxt, c.una) <= c.mss) pto += WORST_ACK_DELAY;
    else pto = Math.max(pto + 2, USUAL_ACK_DELAY);
    const timeout = sent ? (first as { sentAt: number }).sentAt + rto : now + rto;
    // A timeout that would come first yields its moment to the probe; the user's timeout does not.
    const at = timeout > now ? Math.min(now + pto, timeout) : now + pto;
    if (capByUserTimeout(c, at) === at) {
      c.retransKind = TIMER_PROBE;
      c.retransAt = at;
      return;
    }
  }
  if (sent && c.retransAt !== NEVER && c.retransKind === TIMER_RTO) return;
  if (sent && c.retransAt !== NEVER && c.retransKind === TIMER_REORDER) return;
  c.retransKind = TIMER_RTO;
  c.retransAt = capByUserTimeout(c, now + rto);
}

function mayProbeTail(c: Connection): boolean {
  return (
    c.config.tailLossProbe &&
    c.config.rack &&
    c.sackOn &&
    !c.tlpOn &&
    (c.phase === OPEN || c.phase === CWR_PHASE) &&
    c.board.sackedBytes === 0 &&
    c.stateNumber >= ESTABLISHED
  );
}

/** After an acknowledgement that advanced: the timeout begins anew. */
export function restartRetransmission(c: Connection): void {
  if (c.retransKind === TIMER_PERSIST) c.retransKind = TIMER_RTO;
  c.retransAt = NEVER;
  if (seqGe(c.una, c.nxt)) return;
  scheduleRetransmission(c, false);
}
