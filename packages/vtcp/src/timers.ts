/** What the passing of time does to a connection. One timer serves all its deadlines. */

import type { Connection } from './connection.ts';
import { onBlackHole } from './mtu.ts';
import { detectLosses, enterTimeoutRecovery } from './recovery.ts';
import { capByUserTimeout, scheduleRetransmission } from './schedule.ts';
import { seqDiff } from './seq.ts';
import {
  CLOSED,
  FIN_WAIT_2,
  SYN_RECEIVED,
  SYN_SENT,
  TIME_WAIT,
  TIMER_PERSIST,
  TIMER_PROBE,
  TIMER_REORDER,
  TIMER_RTO,
} from './state.ts';
import { sendKeepAlive, sendTailProbe, sendWindowProbe } from './transmit.ts';

const NEVER = Number.POSITIVE_INFINITY;
/** A real timer that fires so much late, in milliseconds, says that the program was busy. */
const LATE = 3;

export function armTimer(c: Connection): void {
  const over = c.stateNumber === CLOSED || c.stateNumber === TIME_WAIT;
  c.stack.timers.arm(c, over ? NEVER : c.nextDeadline());
}

export function onTimer(c: Connection): void {
  if (c.stateNumber === CLOSED || c.stateNumber === TIME_WAIT) return;
  // Marked first: whatever fires below, the batch's end arms the next deadline.
  c.stack.mark(c);
  const now = c.stack.now;
  if (now >= c.ackAt) {
    c.ackAt = NEVER;
    c.ackNow = true;
    c.pingPong = false;
  }
  if (now >= c.paceAt) c.paceAt = NEVER;
  if (now >= c.lifeAt) {
    c.lifeAt = NEVER;
    if (c.stateNumber === FIN_WAIT_2) {
      // The peer may hold its side open for ever; an orphan need not (VTCP-15).
      c.terminate();
      return;
    }
  }
  if (now >= c.retransAt) {
    // When the whole program was held up, the acknowledgement may be waiting to be read: that gets its chance first.
    if (now - c.retransAt > LATE && !c.timerGrace) {
      c.timerGrace = true;
      c.retransAt = now + 1;
    } else {
      c.timerGrace = false;
      onRetransmissionTimer(c);
    }
  }
  if (now >= c.keepAt && c.stateNumber !== CLOSED) onKeepAlive(c);
}

function onRetransmissionTimer(c: Connection): void {
  const kind = c.retransKind;
  c.retransAt = NEVER;
  if (c.stack.tracing) c.stack.trace(c, 'timer', { kind, rto: c.rtt.rto });
  switch (kind) {
    case TIMER_PERSIST:
      onPersist(c);
      break;
    case TIMER_PROBE:
      onTailProbe(c);
      break;
    case TIMER_REORDER:
      c.retransKind = TIMER_RTO;
      detectLosses(c, 0, false);
      scheduleRetransmission(c, false);
      break;
    default:
      onTimeout(c);
  }
}

/** RFC 6298 §5.4–5.7. */
function onTimeout(c: Connection): void {
  const config = c.config;
  const opening = c.stateNumber === SYN_SENT || c.stateNumber === SYN_RECEIVED;
  if (!opening && c.board.length === 0) return;
  // A peer that shrinks its window to nothing while it answers is slow, not dead.
  const answers = c.sndWnd === 0 && c.stack.now - c.lastHeardAt < config.maxRto;
  let limit = c.orphan ? Math.min(config.orphanRetries, config.retries) : config.retries;
  if (opening) limit = c.stateNumber === SYN_SENT ? config.synRetries : config.synAckRetries;
  if ((c.timeouts >= limit && (opening || !answers)) || userTimeoutExpired(c)) {
    c.losses.timeouts++;
    c.fail(c.softError ?? 'ETIMEDOUT', opening ? 'no answer to SYN' : 'no acknowledgement');
    return;
  }
  c.timeouts++;
  c.losses.timeouts++;
  c.stack.stats.timeouts++;
  if (opening) {
    c.synOwed = true;
    c.losses.retransmits++;
    c.stack.stats.retransmits++;
  } else {
    if (c.timeouts >= 2) onBlackHole(c);
    enterTimeoutRecovery(c);
  }
  c.rtt.backoff = Math.min(c.rtt.backoff + 1, 30);
  c.retransKind = TIMER_RTO;
  c.retransAt = capByUserTimeout(c, c.stack.now + c.rtt.rto);
}

function onPersist(c: Connection): void {
  if (seqDiff(c.nxt, c.una) !== 0) {
    scheduleRetransmission(c, false);
    return;
  }
  const waits = seqDiff(c.send.end, c.nxt) > 0 || (c.finQueued && !c.finSent);
  if (!waits) return;
  const limit = c.orphan ? c.config.orphanRetries : c.config.retries;
  // Answered probes start the count again: a reader may be slow for ever, but not silent.
  // For an orphan only progress does: nobody here waits for a peer that never opens its window.
  if ((c.orphan ? c.rtt.backoff : c.probesOut) >= limit || userTimeoutExpired(c)) {
    c.fail('ETIMEDOUT', c.orphan ? 'the window stayed shut' : 'no answer to window probes');
    return;
  }
  c.probesOut++;
  c.rtt.backoff = Math.min(c.rtt.backoff + 1, 30);
  c.retransKind = TIMER_PERSIST;
  c.retransAt = capByUserTimeout(c, c.stack.now + Math.max(c.rtt.rto, c.config.minRto));
  sendWindowProbe(c);
}

function onTailProbe(c: Connection): void {
  c.retransKind = TIMER_RTO;
  if (c.board.length === 0) return;
  if (c.tlpOn || !sendTailProbe(c)) {
    c.retransAt = capByUserTimeout(c, c.stack.now + c.rtt.rto);
    return;
  }
  c.tlpOn = true;
  c.tlpHigh = c.nxt;
  c.losses.tailLossProbes++;
  c.retransKind = TIMER_RTO;
  c.retransAt = capByUserTimeout(c, c.stack.now + c.rtt.rto);
}

function onKeepAlive(c: Connection): void {
  const keepAlive = c.config.keepAlive;
  if (keepAlive === null) {
    c.keepAt = NEVER;
    return;
  }
  const now = c.stack.now;
  const silence = now - c.lastHeardAt;
  if (silence < keepAlive.idle) {
    c.keepProbes = 0;
    c.keepAt = c.lastHeardAt + keepAlive.idle;
    return;
  }
  // What is in flight, or waits for a window, has a timer of its own (VTCP-16).
  if (c.nxt !== c.una || c.retransAt !== NEVER) {
    c.keepAt = now + keepAlive.interval;
    return;
  }
  const limit = c.config.userTimeout;
  if (limit > 0 ? silence >= limit && c.keepProbes > 0 : c.keepProbes >= keepAlive.count) {
    c.reset('ETIMEDOUT', 'no answer to keepalive probes');
    return;
  }
  c.keepProbes++;
  c.keepAt = now + keepAlive.interval;
  sendKeepAlive(c);
}

function userTimeoutExpired(c: Connection): boolean {
  const limit = c.config.userTimeout;
  return limit > 0 && c.waitingSince !== NEVER && c.stack.now - c.waitingSince >= limit;
}
