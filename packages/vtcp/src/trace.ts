/** Events for tracing, in the spirit of qlog: one flat object each, one line of JSON each. */

import type { TcpState } from './types.ts';

export interface TcpTraceEvent {
  /** Milliseconds of the stack's clock. */
  time: number;
  /** `local:port>remote:port` */
  flow: string;
  name:
    | 'state'
    | 'segment_sent'
    | 'segment_received'
    | 'segment_lost'
    | 'recovery'
    | 'metrics'
    | 'timer'
    | 'closed';
  state: TcpState;
  /** What the name speaks of: sequence numbers relative to the initial ones, sizes, reasons. */
  data: Record<string, number | string | boolean>;
}

/** One line of JSON without its line break. */
export function traceLine(event: TcpTraceEvent): string {
  return JSON.stringify(event);
}
