/** What the parts of the engine need from the stack they belong to. */

import type { Clock, Packet } from '@pktkit/core';
import type { AckSample } from './congestion/congestion.ts';
import type { Connection } from './connection.ts';
import type { Flow } from './flow.ts';
import type { PagePool } from './paged-buffer.ts';
import type { Covered, ScoreboardPool } from './scoreboard.ts';
import type { Segment } from './segment.ts';
import type { TimerPool } from './timer-pool.ts';
import type { TcpTraceEvent } from './trace.ts';
import type { TcpStackStats } from './types.ts';

export interface StackCore {
  readonly clock: Clock;
  /** The clock's time when this call, or this batch's end, began. */
  readonly now: number;
  readonly mtu: number;
  readonly offload: number;
  readonly output: (packet: Packet) => void;
  readonly stats: TcpStackStats;
  readonly pages: PagePool;
  readonly boards: ScoreboardPool;
  readonly timers: TimerPool;
  /** Scratch, filled anew for each acknowledgement. */
  readonly covered: Covered;
  readonly sample: AckSample;
  readonly tracing: boolean;

  timestampOffset(): number;
  /** The connection has events to hand out or something to send: at the batch's end. */
  mark(connection: Connection): void;
  /** Calls the handlers of these events; an error in one reaches the program, not the engine. */
  deliver(connection: Connection, events: number): void;
  /** The connection leaves the demultiplexer. */
  remove(connection: Connection): void;
  enterTimeWait(connection: Connection): void;
  /** The handshake of a passive connection has completed. */
  established(connection: Connection): void;
  /** RFC 5961 §7: true when a challenge ACK may go out now. */
  mayChallenge(): boolean;
  /** Answers a segment without connection state: queued for the batch's end. */
  reply(
    flow: Flow,
    seq: number,
    ack: number,
    flags: number,
    window: number,
    tsVal: number,
    tsEcr: number,
  ): void;
  /** The RST that RFC 9293 §3.10.7.1 prescribes for this segment. */
  refuse(flow: Flow, segment: Segment): void;
  trace(connection: Connection, name: TcpTraceEvent['name'], data: TcpTraceEvent['data']): void;
}
