/** The public shape of the engine: options in, handlers and facts out. All times in milliseconds, all sizes in bytes. */

import type { Clock, IpAddr, Packet, Random32 } from '@pktkit/core';
import type { CongestionFactory } from './congestion/congestion.ts';
import type { TcpError } from './errors.ts';
import type { TcpTraceEvent } from './trace.ts';

/** State names of RFC 9293 §3.3.2. */
export type TcpState =
  | 'CLOSED'
  | 'LISTEN'
  | 'SYN-SENT'
  | 'SYN-RECEIVED'
  | 'ESTABLISHED'
  | 'FIN-WAIT-1'
  | 'FIN-WAIT-2'
  | 'CLOSE-WAIT'
  | 'CLOSING'
  | 'LAST-ACK'
  | 'TIME-WAIT';

export interface KeepAliveOptions {
  /** Silence before the first probe; 2 hours unless told (RFC 9293 §3.8.4). */
  idle?: number | undefined;
  /** Between probes; 75 s unless told. */
  interval?: number | undefined;
  /** Unanswered probes before the connection ends with `ETIMEDOUT`; 9 unless told. */
  count?: number | undefined;
}

/** Per connection; those of a stack's `defaults` apply where a call gives none. */
export interface TcpOptions {
  /** Sends short segments at once instead of waiting for acknowledgement (RFC 9293 §3.7.4). Off unless told. */
  noDelay?: boolean | undefined;
  /** Bound of the send buffer; it grows with the congestion window. 4 MiB unless told. */
  sendBuffer?: number | undefined;
  /** Bound that the receive buffer's auto-tuning keeps; at most 1 GiB. 4 MiB unless told. */
  receiveBuffer?: number | undefined;
  /** Receive buffer at the start; 128 KiB unless told, at most `receiveBuffer`. */
  initialReceiveBuffer?: number | undefined;
  /** `'cubic'` unless told. */
  congestionControl?: 'cubic' | 'newreno' | 'highspeed' | CongestionFactory | undefined;
  /** Upper bound of the segment size in both directions, options not counted (RFC 6691). From the MTU unless told. */
  mss?: number | undefined;
  /** RFC 7323 timestamps. On unless told. */
  timestamps?: boolean | undefined;
  /** RFC 2018 selective acknowledgement. On unless told. */
  sack?: boolean | undefined;
  /** RFC 7323 window scaling. On unless told. */
  windowScale?: boolean | undefined;
  /** RFC 8985 loss detection by time, with tail loss probes. On unless told; needs SACK. */
  rack?: boolean | undefined;
  /** RFC 8985 §7 tail loss probes, as far as `rack` is on. On unless told. */
  tailLossProbe?: boolean | undefined;
  /** RFC 5682 detection of spurious timeouts. On unless told. */
  frto?: boolean | undefined;
  /** RFC 3168: `true` asks for it, `'passive'` grants it when the peer asks, `false` neither. `'passive'` unless told. */
  ecn?: boolean | 'passive' | undefined;
  /** RFC 9406 end of slow start by rising round-trip time. On unless told. */
  hystart?: boolean | undefined;
  /** Spreads segments over the round trip. Off unless told. */
  pacing?: boolean | undefined;
  /** Segments of the initial window (RFC 6928). 10 unless told. */
  initialCwnd?: number | undefined;
  /** Restarts from the initial window after an idle period of one RTO (RFC 5681 §4.1). On unless told. */
  idleRestart?: boolean | undefined;
  /** Longest delay of an acknowledgement; 0 acknowledges at each batch's end. 40 unless told. */
  delayedAck?: number | undefined;
  /** In-order segments at the start of a connection that are acknowledged without delay. 16 unless told. */
  quickAcks?: number | undefined;
  /** Probes of an idle connection. Off unless told. */
  keepAlive?: boolean | KeepAliveOptions | undefined;
  /** Unacknowledged data for so long ends the connection with `ETIMEDOUT` (RFC 5482, local value). 0, none, unless told. */
  userTimeout?: number | undefined;
  /** Bounds of the retransmission timeout (RFC 6298 §2.4 allows a lower one than 1 s with a fine clock). */
  minRto?: number | undefined;
  maxRto?: number | undefined;
  initialRto?: number | undefined;
  /** Retransmissions of SYN before `ETIMEDOUT`; 6 unless told. */
  synRetries?: number | undefined;
  /** Retransmissions of SYN-ACK before the half-open connection goes; 5 unless told. */
  synAckRetries?: number | undefined;
  /** Retransmissions of data before `ETIMEDOUT`; 15 unless told. */
  retries?: number | undefined;
  /** The same after `close`, when nobody waits for the outcome; 8 unless told. */
  orphanRetries?: number | undefined;
  /** How long FIN-WAIT-2 lasts after `close`; 60,000 unless told. */
  finTimeout?: number | undefined;
  /** Path MTU discovery without ICMP (RFC 4821): smaller segments after a black hole, larger ones by probing. On unless told. */
  mtuProbing?: boolean | undefined;
  /** Time to live or hop limit; 64 unless told. */
  ttl?: number | undefined;
  /** The six DSCP bits; 0 unless told. */
  dscp?: number | undefined;
}

export interface TcpStackLimits {
  /** Connections in any state but TIME-WAIT; 65,536 unless told. Beyond, SYNs are dropped and `connect` throws `ENOBUFS`. */
  connections?: number | undefined;
  /** Connections in TIME-WAIT; 16,384 unless told. Beyond, the oldest goes. */
  timeWait?: number | undefined;
  /** Half-open connections of all listeners together; 4,096 unless told. Beyond, SYN cookies. */
  halfOpen?: number | undefined;
  /** Unanswered `SynRequest`s; 1,024 unless told. Beyond, SYNs are dropped. */
  synRequests?: number | undefined;
  /** Memory of all buffers; 512 MiB unless told. Near it, each connection is held to a few KiB. */
  bufferedBytes?: number | undefined;
}

export interface TcpStackOptions {
  clock: Clock;
  /** Takes a packet window with `HEADROOM` in front; valid until it returns. Called only from the batch's end. */
  output: (packet: Packet) => void;
  /** For secrets, ISNs, ports; the system's generator unless told. */
  random?: Random32 | undefined;
  /** Largest IP packet; 1500 unless told. */
  mtu?: number | undefined;
  /** `Accept` bits: what the way out takes or finishes in software (`sendL3`). All unless told; 0 gives complete packets. */
  offload?: number | undefined;
  limits?: TcpStackLimits | undefined;
  defaults?: TcpOptions | undefined;
  /** 2 MSL, the stay in TIME-WAIT; 60,000 unless told. */
  timeWait?: number | undefined;
  /** When a `SynRequest` that nobody answered is dropped; 75,000 unless told. */
  synRequestTimeout?: number | undefined;
  /** SYN cookies when half-open entries run short (`true`), for every SYN (`'always'`), or never. `true` unless told. */
  synCookies?: boolean | 'always' | undefined;
  /** First and last ephemeral port; 32768 and 60999 unless told. */
  ephemeralPorts?: readonly [number, number] | undefined;
  /** Initial sequence numbers for scripts and tests; RFC 6528 unless told. */
  isn?:
    | ((local: IpAddr, localPort: number, remote: IpAddr, remotePort: number) => number)
    | undefined;
  /** Offset of the timestamp clock for scripts and tests; random per connection unless told (RFC 7323 §5.4). */
  timestampOffset?: number | undefined;
  /** Challenge ACKs a second for the whole stack (RFC 5961 §7); 100 unless told. */
  challengeAcks?: number | undefined;
  /** Offers every SYN that matches no listener; the owner answers now or later. Without it such a SYN gets RST. */
  onSyn?: ((request: SynRequest) => void) | undefined;
  /**
   * A segment that belongs to nobody. `true` says that the caller has taken care of it; otherwise it is answered by RST.
   * The window is borrowed.
   */
  onUnmatched?: ((packet: Packet) => boolean) | undefined;
  /** Events for tracing; none are made while this is unset. */
  onTrace?: ((event: TcpTraceEvent) => void) | undefined;
}

export interface ConnectOptions {
  local: IpAddr;
  /** An ephemeral one (RFC 6056) unless told. */
  localPort?: number | undefined;
  remote: IpAddr;
  remotePort: number;
  options?: TcpOptions | undefined;
}

export interface ListenOptions {
  /** Null: every address of both families. */
  address?: IpAddr | null | undefined;
  port: number;
  /** Half-open connections before SYN cookies take over; 128 unless told. */
  backlog?: number | undefined;
  options?: TcpOptions | undefined;
  /** A connection whose handshake has completed. Set its handlers before returning. */
  onConnection: (connection: TcpConnection) => void;
}

export interface TcpListener {
  readonly address: IpAddr | null;
  readonly port: number;
  /** Connections whose handshake is under way. */
  readonly halfOpen: number;
  /** While true, SYNs are dropped: their senders try again. For owners whose own queue is full. */
  paused: boolean;
  /** Half-open connections are reset; established ones stay. */
  close(): void;
}

/** A SYN that waits for its owner's decision. Duplicates are swallowed meanwhile. */
export interface SynRequest {
  readonly local: IpAddr;
  readonly localPort: number;
  readonly remote: IpAddr;
  readonly remotePort: number;
  /** False once it was answered, cancelled by the peer, or has timed out. */
  readonly pending: boolean;
  /** The peer gave up (RST), the request timed out, or the stack was closed. */
  onCancel: () => void;
  /** Sends the SYN-ACK. Set handlers on what it gives at once; null when the request is no longer pending. */
  accept(options?: TcpOptions): TcpConnection | null;
  /** Answers RST: the peer sees a refused connection. */
  reject(): void;
  /** Answers nothing: the peer will try again. */
  drop(): void;
}

/**
 * One connection. Handlers are called at a batch's end, never from within a call of this interface, in this order:
 * `onConnected`, `onReadable`… and `onWritable`…, `onEnd`, `onClosed`.
 */
export interface TcpConnection {
  readonly local: IpAddr;
  readonly localPort: number;
  readonly remote: IpAddr;
  readonly remotePort: number;
  readonly state: TcpState;
  /** A snapshot of what `ss -ti` shows. */
  readonly info: TcpInfo;
  /** Set when the connection failed. */
  readonly error: TcpError | null;

  /** Bytes that `write` would take now. */
  readonly writable: number;
  /** Bytes that can be read now. */
  readonly readable: number;
  /** Bytes written and not yet acknowledged. */
  readonly unacknowledged: number;
  /** True when the peer has sent FIN and all its data has been read. */
  readonly ended: boolean;

  /** Copies as much as fits and says how much. 0 before the buffer has room and for ever after `shutdown`, `close` or an error. */
  write(buf: Uint8Array, off?: number, len?: number): number;
  /** Copies up to `len` bytes out and consumes them. */
  read(dst: Uint8Array, off?: number, len?: number): number;
  /** A view of contiguous unread bytes, `skip` bytes in; empty when there are none. Valid until they are consumed. */
  peek(skip?: number): Uint8Array;
  /** Frees `n` bytes that were peeked at; this opens the window. */
  consume(n: number): void;

  /** FIN after all queued data; reading goes on. */
  shutdown(): void;
  /** Ends both ways: FIN after all queued data. Unread or later data is answered by RST (RFC 9293 §3.6.1, RFC 2525 §2.17). */
  close(): void;
  /** RST, and everything queued is dropped. `onClosed` gets `ECONNABORTED`. */
  abort(): void;

  setNoDelay(on: boolean): void;
  setKeepAlive(keepAlive: boolean | KeepAliveOptions): void;
  setUserTimeout(milliseconds: number): void;
  /** Holds short segments back until uncorked, or for 200 ms at most. */
  setCork(on: boolean): void;

  /** The handshake has completed. */
  onConnected: (connection: TcpConnection) => void;
  /** There is something to read that was not there at the last call. */
  onReadable: (connection: TcpConnection) => void;
  /** A `write` took less than it was given, and there is room again. */
  onWritable: (connection: TcpConnection) => void;
  /** The peer has finished, and everything was read. */
  onEnd: (connection: TcpConnection) => void;
  /**
   * The last event. `null` only after a clean end both ways: what was written was acknowledged, and the peer's FIN came.
   * Bytes that had arrived before an error can still be read until `close`.
   */
  onClosed: (error: TcpError | null, connection: TcpConnection) => void;
}

/** What the kernel's `tcp_info` holds, in bytes and milliseconds. */
export interface TcpInfo {
  state: TcpState;
  congestionControl: string;
  /** Which phase of loss handling the sender is in. */
  recovery: 'open' | 'disorder' | 'cwr' | 'recovery' | 'loss';
  timestamps: boolean;
  sack: boolean;
  /** Shifts in use; -1 without window scaling. */
  sendScale: number;
  receiveScale: number;
  ecn: boolean;
  ecnSeen: boolean;
  /** Payload of a full segment now, options deducted. */
  mss: number;
  /** Segment size that the peer announced. */
  peerMss: number;
  pathMtu: number;
  cwnd: number;
  /** `Infinity` before the first reduction. */
  ssthresh: number;
  inFlight: number;
  sacked: number;
  lost: number;
  retransmitting: number;
  srtt: number;
  rttvar: number;
  minRtt: number;
  rto: number;
  /** Consecutive timeouts. */
  backoff: number;
  reordering: number;
  reorderSeen: boolean;
  sendWindow: number;
  receiveWindow: number;
  receiveBuffer: number;
  sendQueue: number;
  unsent: number;
  receiveQueue: number;
  outOfOrder: number;
  /** Bytes a second; 0 without pacing. */
  pacingRate: number;
  bytesSent: number;
  bytesAcked: number;
  bytesReceived: number;
  bytesRetransmitted: number;
  segmentsOut: number;
  segmentsIn: number;
  dataSegmentsOut: number;
  dataSegmentsIn: number;
  retransmits: number;
  timeouts: number;
  fastRecoveries: number;
  tailLossProbes: number;
  spuriousRecoveries: number;
  dsacks: number;
  duplicateAcks: number;
}

/** Counters of a stack; they only rise. */
export interface TcpStackStats {
  segmentsIn: number;
  segmentsOut: number;
  bytesIn: number;
  bytesOut: number;
  activeOpens: number;
  passiveOpens: number;
  established: number;
  failedConnects: number;
  resetsIn: number;
  resetsOut: number;
  retransmits: number;
  timeouts: number;
  synCookiesSent: number;
  synCookiesAccepted: number;
  synCookiesRejected: number;
  challengeAcks: number;
  /** Not sent because of the limit of RFC 5961 §7. */
  challengeAcksLimited: number;
  timeWaitReused: number;
  timeWaitEvicted: number;
  icmpErrors: number;
  outOfOrder: number;
  duplicateData: number;
  /** Not TCP, or shorter than its header says. */
  dropMalformed: number;
  dropChecksum: number;
  /** Source or destination is a multicast or broadcast address (RFC 9293 §3.9.2.3), or a port is 0. */
  dropAddress: number;
  dropFragment: number;
  /** Outside the receive window. */
  dropWindow: number;
  /** PAWS: an old timestamp (RFC 7323 §5). */
  dropPaws: number;
  /** An acknowledgement too old or of what was never sent (RFC 5961 §5). */
  dropAck: number;
  /** No ACK bit where one is required. */
  dropNoAck: number;
  /** A flag that has no place in this state. */
  dropState: number;
  /** A SYN beyond the limits, or for a paused listener. */
  dropSynLimit: number;
  /** Data dropped because the stack's memory is used up. */
  dropMemory: number;
  /** Out-of-order data in more pieces than are kept. */
  dropPieces: number;
  /** A RST that did not hit RCV.NXT exactly (RFC 5961 §3). */
  dropReset: number;
  /** A stateless answer beyond what one batch may queue. */
  dropReplies: number;
  /** An ICMP error that quotes nothing that is in flight (RFC 5927). */
  dropIcmp: number;
}
