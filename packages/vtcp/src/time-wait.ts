/**
 * What remains of a connection in TIME-WAIT (RFC 9293 §3.6.1): enough to acknowledge a retransmitted FIN and to tell a new
 * SYN from an old one. All entries of a stack stay equally long, so they leave in order through one queue.
 */

import type { Connection } from './connection.ts';
import { FLOW_TIME_WAIT, Flow } from './flow.ts';
import type { Segment } from './segment.ts';
import { ACK, FIN, RST, SYN } from './segment.ts';
import { seqGe, seqGt, seqLt } from './seq.ts';
import type { StackCore } from './stack-core.ts';

export class TimeWait extends Flow {
  readonly kind: number = FLOW_TIME_WAIT;
  readonly nxt: number;
  readonly rcvNxt: number;
  readonly window: number;
  readonly tsOn: boolean;
  readonly tsOffset: number;
  tsRecent: number;
  active = true;
  readonly enteredAt: number;
  deadline = 0.5;
  older: TimeWait | null = null;
  newer: TimeWait | null = null;
  #lastAck: number = Number.NEGATIVE_INFINITY;

  constructor(connection: Connection) {
    super(connection);
    this.nxt = connection.nxt;
    this.rcvNxt = connection.rcvNxt;
    this.window = Math.min(65535, connection.rcvBuf >>> connection.rcvScale);
    this.tsOn = connection.tsOn;
    this.tsOffset = connection.tsOffset;
    this.tsRecent = connection.tsRecent;
    this.enteredAt = connection.stack.now;
  }

  /** Long enough for our timestamps to have moved on (RFC 6191 §2), so that a new connection from here is known as such. */
  hasRested(now: number): boolean {
    return now - this.enteredAt > 1000;
  }

  /** The peer's timestamps and sequence numbers say that this SYN is a new connection's (RFC 6191 §2, RFC 9293 §3.10.7.4). */
  allowsReuse(segment: Segment): boolean {
    if ((segment.flags & (SYN | RST | ACK)) !== SYN) return false;
    if (this.tsOn && segment.hasTimestamp && seqGt(segment.tsVal, this.tsRecent)) return true;
    return seqGt(segment.seq, this.rcvNxt);
  }

  /**
   * Handles a segment; true when the stay begins anew. RFC 1337: RST does not end it. Only what takes sequence space
   * is answered, and an old segment at most twice a second: two ends in TIME-WAIT stay silent.
   */
  handle(segment: Segment, stack: StackCore): boolean {
    if ((segment.flags & RST) !== 0) {
      stack.stats.dropReset++;
      return false;
    }
    if (this.tsOn && segment.hasTimestamp) {
      if (seqLt(segment.tsVal, this.tsRecent)) {
        stack.stats.dropPaws++;
        this.acknowledge(stack);
        return false;
      }
    }
    if (segment.length === 0) return false;
    // Only the peer's own FIN again, at its place, makes the stay longer.
    const restart =
      (segment.flags & FIN) !== 0 &&
      ((segment.seq + segment.length) | 0) === this.rcvNxt &&
      (segment.flags & ACK) !== 0 &&
      seqGe(segment.ack, this.nxt);
    if (restart && segment.hasTimestamp) this.tsRecent = segment.tsVal;
    // The FIN comes at the pace of the peer's timer; anything else may come at any.
    if (restart) this.#lastAck = Number.NEGATIVE_INFINITY;
    this.acknowledge(stack);
    return restart;
  }

  /** At most twice a second. */
  acknowledge(stack: StackCore): void {
    if (stack.now - this.#lastAck < 500) return;
    this.#lastAck = stack.now;
    const echo = this.tsOn ? this.tsRecent : 0;
    const value = this.tsOn ? (stack.now + this.tsOffset) | 0 : 0;
    stack.reply(this, this.nxt, this.rcvNxt, ACK, this.window, value, echo);
  }
}
