/**
 * What a congestion controller is to the sender. It owns two numbers, `cwnd` and `ssthresh`; the sender tells it what was
 * acknowledged and what was lost. During fast recovery the window is proportional rate reduction's (RFC 6937), not the
 * controller's.
 */

/** What the sender knows when it tells of an acknowledgement. One object per stack, refilled; never kept. */
export interface AckSample {
  /** Milliseconds. */
  now: number;
  /** Bytes newly acknowledged, cumulatively or selectively. */
  acked: number;
  /** Smoothed round-trip time; 0 before the first sample. */
  srtt: number;
  /** This acknowledgement's own sample; -1 without one. */
  rtt: number;
  /** Smallest round-trip time seen; `Infinity` before the first sample. */
  minRtt: number;
  /** Bytes in flight before this acknowledgement. */
  inFlight: number;
  /** True when the window, and not the application or the peer's window, held the sender back (RFC 7661). */
  cwndLimited: boolean;
  /** The acknowledged sequence number and the next to be sent: they delimit rounds. */
  una: number;
  nxt: number;
}

export interface CongestionController {
  readonly name: string;
  /** Whole bytes. */
  cwnd: number;
  /** Whole bytes; `Infinity` before the first reduction. */
  ssthresh: number;
  /** The window opens: new data was acknowledged outside recovery. */
  onAck(sample: AckSample): void;
  /** A loss (or an ECN mark) begins a reduction: sets `ssthresh`. The sender moves `cwnd` there. */
  onCongestion(inFlight: number, now: number, byEcn: boolean): void;
  /** The retransmission timer fired: sets `ssthresh` and drops `cwnd` to one segment. */
  onTimeout(inFlight: number, now: number): void;
  /** The last reduction was spurious (D-SACK, F-RTO, Eifel): back to what it was. */
  onSpurious(): void;
  /** The connection was idle for `idle` ms with a timeout of `rto` ms (RFC 5681 §4.1, RFC 7661). */
  onIdle(idle: number, rto: number): void;
  /** The segment size changed. */
  onMss(mss: number): void;
}

export interface CongestionConfig {
  mss: number;
  /** Bytes of the initial window. */
  initialWindow: number;
  /** RFC 9406. */
  hystart: boolean;
}

export type CongestionFactory = (config: CongestionConfig) => CongestionController;
