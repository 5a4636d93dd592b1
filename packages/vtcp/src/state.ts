/** Connection states as small integers, in the order of RFC 9293 figure 5. */

import type { TcpState } from './types.ts';

export const CLOSED = 0;
// 1 is LISTEN, which no connection enters: listeners are objects of their own.
export const SYN_SENT = 2;
export const SYN_RECEIVED = 3;
export const ESTABLISHED = 4;
export const FIN_WAIT_1 = 5;
export const FIN_WAIT_2 = 6;
export const CLOSE_WAIT = 7;
export const CLOSING = 8;
export const LAST_ACK = 9;
export const TIME_WAIT = 10;

export const STATE_NAMES: readonly TcpState[] = [
  'CLOSED',
  'LISTEN',
  'SYN-SENT',
  'SYN-RECEIVED',
  'ESTABLISHED',
  'FIN-WAIT-1',
  'FIN-WAIT-2',
  'CLOSE-WAIT',
  'CLOSING',
  'LAST-ACK',
  'TIME-WAIT',
];

// Phases of the sender's loss handling, as tcp_info counts them.
export const OPEN = 0;
export const DISORDER = 1;
export const CWR_PHASE = 2;
export const RECOVERY = 3;
export const LOSS = 4;

export const PHASE_NAMES = ['open', 'disorder', 'cwr', 'recovery', 'loss'] as const;

// What the retransmission deadline stands for.
export const TIMER_RTO = 0;
export const TIMER_PROBE = 1;
export const TIMER_REORDER = 2;
export const TIMER_PERSIST = 3;

// Events that wait for the batch's end.
export const EVENT_ACCEPTED = 1;
export const EVENT_CONNECTED = 2;
export const EVENT_READABLE = 4;
export const EVENT_WRITABLE = 8;
export const EVENT_END = 16;
export const EVENT_CLOSED = 32;
