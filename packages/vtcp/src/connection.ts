/**
 * One connection: its state, and what the application may do to it. How segments change the state is in `receive.ts`,
 * `acknowledge.ts` and `handshake.ts`, what is sent in `transmit.ts`, what is lost in `recovery.ts`, and what time does
 * in `timers.ts`; they are functions on this object.
 *
 * Nothing here sends or calls a handler. A change marks the connection; at the batch's end the stack hands out the events
 * and then lets `transmit` send what has become due. So no handler, and no packet, ever meets a half-changed state.
 */

import type { TcpConfig } from './config.ts';
import { resolveKeepAlive } from './config.ts';
import type { CongestionController } from './congestion/congestion.ts';
import type { ProportionalRateReduction } from './congestion/prr.ts';
import { FlowWithNumbers } from './connection-numbers.ts';
import { TcpError, type TcpErrorCode } from './errors.ts';
import { FLOW_CONNECTION, type Flow, type FlowKey } from './flow.ts';
import { connectionInfo } from './info.ts';
import type { Listener } from './listener.ts';
import type { MtuSearch } from './mtu.ts';
import { ReceiveBuffer } from './receive-buffer.ts';
import { RttEstimator } from './rto.ts';
import { NOTHING_IN_FLIGHT, type Scoreboard } from './scoreboard.ts';
import { SendBuffer } from './send-buffer.ts';
import { seqDiff } from './seq.ts';
import type { StackCore } from './stack-core.ts';
import {
  CLOSE_WAIT,
  CLOSED,
  ESTABLISHED,
  EVENT_CLOSED,
  EVENT_END,
  EVENT_READABLE,
  FIN_WAIT_1,
  FIN_WAIT_2,
  LAST_ACK,
  OPEN,
  STATE_NAMES,
  SYN_RECEIVED,
  SYN_SENT,
  TIME_WAIT,
  TIMER_RTO,
} from './state.ts';
import { LossCounts, NO_LOSSES } from './stats.ts';
import type { TimeWait } from './time-wait.ts';
import type { ConnectionTimer } from './timer-pool.ts';
import type { KeepAliveOptions, TcpConnection, TcpInfo, TcpState } from './types.ts';

const NEVER = Number.POSITIVE_INFINITY;
/** RFC 9293 §3.7.1: what a peer may send that announced nothing. */
const DEFAULT_MSS_4 = 536;
const DEFAULT_MSS_6 = 1220;
/** Smaller is not believed: room for options and some payload. */
const MIN_MSS = 64;
/** A write buffer holds at least so much, whatever the congestion window. */
const MIN_SEND_BUFFER = 256 << 10;
/** What a connection may still hold when the stack's memory runs short. */
const SCARCE_BUFFER = 4096;

export class Connection extends FlowWithNumbers implements TcpConnection {
  readonly kind: number = FLOW_CONNECTION;
  readonly stack: StackCore;
  config: TcpConfig;
  stateNumber: number = CLOSED;
  error: TcpError | null = null;

  // Handlers.
  onConnected: (connection: TcpConnection) => void = ignore;
  onReadable: (connection: TcpConnection) => void = ignore;
  onWritable: (connection: TcpConnection) => void = ignore;
  onEnd: (connection: TcpConnection) => void = ignore;
  onClosed: (error: TcpError | null, connection: TcpConnection) => void = ignoreClosed;

  // Shell.
  dirty = false;
  events = 0;
  /** Where a half-open connection of a listener is counted. */
  listener: Listener | null = null;
  /** Told of the connection once its handshake has completed. */
  acceptor: ((connection: TcpConnection) => void) | null = null;
  /** No longer in the demultiplexer. */
  removed = false;
  passive = false;
  /** Its own only while there is a deadline. */
  timer: ConnectionTimer | null = null;
  timeWait: TimeWait | null = null;
  closedReported = false;
  endReported = false;
  wantsWrite = false;

  // Send sequence space (RFC 9293 §3.3.1).
  readonly iss: number;
  una: number;
  nxt: number;
  sndWnd = 0;
  wl1 = 0;
  wl2 = 0;
  /** The largest window the peer has offered: the measure of silly windows. */
  maxWnd = 0;
  sndScale = 0;
  send: SendBuffer;
  /** The application has finished writing; the FIN follows its last byte. */
  finQueued = false;
  finSent = false;
  /** Nobody reads any more (`close`). */
  orphan = false;

  // Receive sequence space.
  irs = 0;
  rcvNxt = 0;
  /** Right edge of the window that we have advertised: never moves back. */
  rcvAdv = 0;
  rcvScale = 0;
  rcvBuf: number;
  maxRcvBuf: number;
  receive: ReceiveBuffer;
  finReceived = false;
  /** A FIN that came before data in front of it. */
  finPending = false;
  finSeq = 0;
  // Auto-tuning: what the application consumed in about a round trip.
  tuneCopied = 0;
  tuneBefore = 0;
  rcvRttSeq = 0;
  rcvEcho = 0;

  // Options in use.
  tsOn = false;
  sackOn = false;
  scaleOn = false;
  ecnOn = false;
  tsOffset: number;
  tsRecent = 0;
  lastAckSent = 0;

  // Segment sizes.
  peerMss: number;
  pathMtu: number;
  /** Payload of a full segment, options deducted. */
  mss: number = DEFAULT_MSS_4;
  /** Largest payload received, an estimate of the peer's segment size. */
  rcvMss: number = DEFAULT_MSS_4;

  // Acknowledging.
  ackNow = false;
  /** Duplicate acknowledgements owed to a peer without SACK, one per segment (RFC 5681 §4.2). */
  ackCount = 0;
  ackDelayed = false;
  quickAcks: number;
  pingPong = false;
  /** Bytes in order since the last acknowledgement. */
  unackedBytes = 0;
  dsackStart = 0;
  dsackEnd = 0;
  /** Holds for ECN's receiver side: CE was seen and not yet answered by CWR. */
  ecnEcho = false;
  ecnCwr = false;
  ecnSeen = false;

  // Congestion and loss.
  cc: CongestionController;
  rtt: RttEstimator;
  /** Its own only while something is in flight. */
  board: Scoreboard = NOTHING_IN_FLIGHT;
  /** Null until the first reduction. */
  prr: ProportionalRateReduction | null = null;
  phase: number = OPEN;
  recoverSeq: number;
  dupAcks = 0;
  /** Bytes that duplicate acknowledgements stand for when there is no SACK. */
  renoSacked = 0;
  cwndLimited = false;
  maxOutstanding = 0;
  maxOutstandingSeq: number;
  smallEnd: number;
  undoSeq = 0;
  undoBytes = 0;
  undoOn = false;
  /** Our timestamp of the first retransmission in this episode: an older echo proves it needless (RFC 3522). */
  retransTs = 0;
  retransTsSet = false;
  frto = false;
  /** F-RTO sends new data before it retransmits. */
  frtoHold = false;
  /** The last timestamp that the peer echoed. */
  lastEcho = 0;
  timeouts = 0;
  probesOut = 0;
  // RACK (RFC 8985 §5.2).
  rackOrder = 0;
  rackEnd = 0;
  reoSteps = 1;
  reoPersist = 0;
  reoRound: number;
  reordering = false;
  dupThresh = 3;
  tlpHigh = 0;
  tlpOn = false;
  tlpRetransmitted = false;
  // Path MTU (RFC 4821).
  /** Null until the path has turned out narrower than the link. */
  mtuSearch: MtuSearch | null = null;
  softError: TcpErrorCode | null = null;

  // Deadlines.
  /** What `retransAt` stands for. */
  retransKind: number = TIMER_RTO;
  /** The retransmission deadline was met late and is looked at once more. */
  timerGrace = false;
  synOwed = false;
  resetOwed = false;
  corked = false;
  keepProbes = 0;
  noDelay: boolean;

  // Counters.
  segmentsOut = 0;
  segmentsIn = 0;
  dataSegmentsOut = 0;
  dataSegmentsIn = 0;
  #losses: LossCounts | null = null;

  constructor(stack: StackCore, key: FlowKey | Flow, config: TcpConfig, iss: number) {
    super(key);
    this.stack = stack;
    this.config = config;
    this.noDelay = config.noDelay;
    this.quickAcks = config.quickAcks;
    this.iss = iss;
    this.una = iss;
    this.nxt = (iss + 1) | 0;
    this.send = new SendBuffer(stack.pages, (iss + 1) | 0);
    this.receive = new ReceiveBuffer(stack.pages, 0);
    this.rcvBuf = config.initialReceiveBuffer;
    this.maxRcvBuf = config.receiveBuffer;
    this.rcvScale = config.receiveScale;
    this.tsOffset = stack.timestampOffset();
    this.pathMtu = stack.mtu;
    this.peerMss = this.family === 4 ? DEFAULT_MSS_4 : DEFAULT_MSS_6;
    this.rtt = new RttEstimator(config.initialRto, config.minRto, config.maxRto);
    this.mss = this.peerMss;
    this.recoverSeq = this.maxOutstandingSeq = this.smallEnd = this.reoRound = iss;
    // Until the peer's segment size is known nothing is sent that this window would govern.
    this.cc = config.congestion({
      mss: this.mss,
      initialWindow: config.initialCwnd * this.mss,
      hystart: config.hystart,
    });
    this.tuneAt = this.lastHeardAt = this.lastSentAt = stack.now;
  }

  // Queries.

  get state(): TcpState {
    if (this.stateNumber === TIME_WAIT && this.timeWait?.active === false) return 'CLOSED';
    return STATE_NAMES[this.stateNumber];
  }

  get info(): TcpInfo {
    return connectionInfo(this);
  }

  /** To count with; made when there is something to count. */
  get losses(): LossCounts {
    this.#losses ??= new LossCounts();
    return this.#losses;
  }

  get lossesSoFar(): Readonly<LossCounts> {
    return this.#losses ?? NO_LOSSES;
  }

  get readable(): number {
    return this.receive.readable;
  }

  get ended(): boolean {
    return this.finReceived && this.receive.readable === 0;
  }

  get unacknowledged(): number {
    return this.send.length;
  }

  get writable(): number {
    if (this.finQueued || this.error !== null || this.stateNumber === CLOSED) return 0;
    return Math.max(0, this.sendLimit - this.send.length);
  }

  /** Follows the congestion window, so that no more waits here than keeps the path busy. */
  get sendLimit(): number {
    if (this.stack.pages.isScarce) return Math.min(this.config.sendBuffer, SCARCE_BUFFER);
    return Math.min(
      this.config.sendBuffer,
      Math.max(MIN_SEND_BUFFER, Math.floor(2 * this.cc.cwnd)),
    );
  }

  /** Bytes in flight as RFC 6675 estimates them. */
  get inFlight(): number {
    const board = this.board;
    return (
      seqDiff(this.nxt, this.una) -
      board.sackedBytes -
      this.renoSacked -
      board.lostBytes +
      board.retransmittedBytes
    );
  }

  // What the application does.

  write(buf: Uint8Array, off = 0, len: number = buf.length - off): number {
    const n = Math.min(len, this.writable);
    if (n < len && !this.finQueued) this.wantsWrite = true;
    if (n <= 0) return 0;
    this.send.append(buf, off, n);
    this.stack.mark(this);
    return n;
  }

  read(dst: Uint8Array, off = 0, len: number = dst.length - off): number {
    const n = this.receive.read(dst, off, len);
    if (n > 0) this.#consumed(n);
    return n;
  }

  peek(skip = 0): Uint8Array {
    return this.receive.peek(skip);
  }

  consume(n: number): void {
    if (!(n >= 0 && n <= this.receive.readable)) {
      throw new RangeError(`cannot consume ${n} of ${this.receive.readable} readable bytes`);
    }
    if (n === 0) return;
    this.receive.consume(n);
    this.#consumed(n);
  }

  shutdown(): void {
    if (this.finQueued || this.stateNumber === CLOSED || this.stateNumber === TIME_WAIT) return;
    if (this.stateNumber === SYN_SENT) {
      // RFC 9293 §3.10.4: a connection that never was ends without a trace.
      this.fail('ECONNABORTED', 'closed before the handshake completed');
      return;
    }
    this.finQueued = true;
    this.wantsWrite = false;
    this.corked = false;
    if (this.stateNumber === ESTABLISHED) this.setState(FIN_WAIT_1);
    else if (this.stateNumber === CLOSE_WAIT) this.setState(LAST_ACK);
    // In SYN-RECEIVED the FIN waits for the handshake.
    this.stack.mark(this);
  }

  close(): void {
    if (this.orphan) return;
    this.orphan = true;
    const unread = this.receive.readable > 0;
    this.receive.discard();
    if (this.stateNumber === CLOSED || this.stateNumber === TIME_WAIT) {
      this.stack.mark(this);
      return;
    }
    if (unread) {
      // RFC 2525 §2.17: the peer learns that its data was not read.
      this.reset('ECONNABORTED', 'closed with unread data');
      return;
    }
    this.shutdown();
    if (this.stateNumber === FIN_WAIT_2) this.lifeAt = this.stack.now + this.config.finTimeout;
    this.stack.mark(this);
  }

  abort(): void {
    if (this.stateNumber === CLOSED || this.stateNumber === TIME_WAIT) {
      this.close();
      return;
    }
    this.orphan = true;
    this.reset('ECONNABORTED', 'aborted');
    this.receive.discard();
  }

  setNoDelay(on: boolean): void {
    this.noDelay = on;
    if (on) this.stack.mark(this);
  }

  setCork(on: boolean): void {
    this.corked = on;
    if (!on) this.corkAt = NEVER;
    this.stack.mark(this);
  }

  setKeepAlive(keepAlive: boolean | KeepAliveOptions): void {
    this.config = { ...this.config, keepAlive: resolveKeepAlive(keepAlive) };
    this.keepProbes = 0;
    this.armKeepAlive();
    this.stack.mark(this);
  }

  setUserTimeout(milliseconds: number): void {
    if (!(milliseconds >= 0)) {
      throw new RangeError(`a user timeout is 0 (none) or more milliseconds, got ${milliseconds}`);
    }
    this.config = { ...this.config, userTimeout: milliseconds };
    this.stack.mark(this);
  }

  // What the other modules do.

  armKeepAlive(): void {
    const keepAlive = this.config.keepAlive;
    const alive = this.stateNumber >= ESTABLISHED && this.stateNumber < TIME_WAIT;
    this.keepAt = keepAlive === null || !alive ? NEVER : this.lastHeardAt + keepAlive.idle;
  }

  setState(state: number): void {
    if (state === this.stateNumber) return;
    this.stateNumber = state;
    if (this.stack.tracing) this.stack.trace(this, 'state', {});
  }

  /** Ends the connection with RST. */
  reset(code: TcpErrorCode, reason: string): void {
    this.resetOwed = this.stateNumber !== SYN_SENT;
    this.fail(code, reason);
  }

  /** Ends the connection without telling the peer. */
  fail(code: TcpErrorCode, reason: string): void {
    if (this.stateNumber === CLOSED) return;
    this.error = new TcpError(code, `${reason} (${this.describe()})`);
    if (this.stateNumber === SYN_SENT) this.stack.stats.failedConnects++;
    this.terminate();
  }

  describe(): string {
    const { local, localPort, remote, remotePort } = this;
    const bracket = (text: string) => (this.family === 6 ? `[${text}]` : text);
    return `${bracket(local.toString())}:${localPort} to ${bracket(remote.toString())}:${remotePort}`;
  }

  /** Nothing goes on: deadlines off, memory back; the last events follow at the batch's end. */
  terminate(): void {
    const halfOpen = this.listener;
    if (halfOpen !== null) halfOpen.leave(this);
    this.setState(CLOSED);
    this.stopTimers();
    this.board.clear();
    this.send.discard();
    this.receive.disown();
    this.events |= EVENT_CLOSED;
    this.stack.mark(this);
  }

  /** What was sent now is in flight. */
  noteSent(seq: number, end: number, flags: number): void {
    const stack = this.stack;
    // Its count of transmissions goes on from the newest that was delivered: nothing older is left to be compared with.
    if (this.board === NOTHING_IN_FLIGHT) this.board = stack.boards.take(this.rackOrder);
    this.board.push(seq, end, stack.now, flags);
  }

  /** At the batch's end: what only a busy connection needs goes back to the stack. */
  settle(): void {
    const board = this.board;
    if (board === NOTHING_IN_FLIGHT || board.length > 0) return;
    this.board = NOTHING_IN_FLIGHT;
    this.stack.boards.give(board);
  }

  stopTimers(): void {
    this.retransAt = this.ackAt = this.keepAt = NEVER;
    this.lifeAt = this.paceAt = this.corkAt = NEVER;
    this.ackNow = this.ackDelayed = this.synOwed = false;
    this.stack.timers.arm(this, NEVER);
  }

  /** The earliest deadline. */
  nextDeadline(): number {
    let at = this.retransAt;
    if (this.ackAt < at) at = this.ackAt;
    if (this.keepAt < at) at = this.keepAt;
    if (this.lifeAt < at) at = this.lifeAt;
    if (this.paceAt < at) at = this.paceAt;
    if (this.corkAt < at) at = this.corkAt;
    return at;
  }

  /** Payload of a full segment from what the peer, the path and the options leave. */
  updateMss(): void {
    const headers = (this.family === 4 ? 20 : 40) + 20;
    const whole = Math.min(this.peerMss, this.pathMtu - headers, this.config.mss);
    const mss = Math.max(MIN_MSS, whole) - (this.tsOn ? 12 : 0);
    if (mss === this.mss) return;
    this.mss = mss;
    this.cc.onMss(mss);
  }

  /** Our timestamp now: milliseconds from a random start (RFC 7323 §5.4). */
  timestamp(): number {
    return (this.stack.now + this.tsOffset) | 0;
  }

  #consumed(n: number): void {
    this.tuneCopied += n;
    if (this.finReceived) {
      if (this.receive.readable === 0) this.notify(EVENT_END);
      return;
    }
    if (this.stateNumber < SYN_RECEIVED || this.stateNumber === CLOSED) return;
    const offered = seqDiff(this.rcvAdv, this.rcvNxt);
    if (offered * 2 > this.rcvBuf) return;
    const free = this.rcvBuf - this.receive.readable;
    // Worth a segment of its own when it at least doubles the window (RFC 9293 §3.8.6.2.2).
    if (free >= 2 * offered && free - offered >= Math.min(this.rcvBuf / 2, this.rcvMss)) {
      this.ackNow = true;
      this.stack.mark(this);
    }
  }

  notify(event: number): void {
    this.events |= event;
    this.stack.mark(this);
  }

  /** Called at the batch's end. */
  dispatch(): void {
    const events = this.events;
    this.events = 0;
    this.stack.deliver(this, events & ~(EVENT_END | EVENT_CLOSED));
    if (
      this.finReceived &&
      !this.endReported &&
      this.receive.readable === 0 &&
      this.error === null
    ) {
      this.endReported = true;
      if (!this.orphan) this.stack.deliver(this, EVENT_END);
    }
    if (!this.closedReported && (this.stateNumber === CLOSED || this.stateNumber === TIME_WAIT)) {
      // A clean end is told when everything has been read; a failure at once.
      if (this.error !== null || this.orphan || this.receive.readable === 0) {
        this.closedReported = true;
        this.stack.deliver(this, EVENT_CLOSED);
      }
    }
    if ((events & EVENT_READABLE) !== 0 && this.orphan) this.receive.discard();
  }
}

function ignore(): void {}
function ignoreClosed(): void {}
