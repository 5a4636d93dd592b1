/**
 * All connections that share one way out: demultiplexing, listening, opening, and the batch's end.
 *
 * Calling order: `handlePacket`, timers and the application's calls only change state and mark what they touched. The
 * batch's end (`Clock.endOfBatch`) hands out events, then lets every marked connection send, then sends the answers
 * that need no connection. Packets that come back synchronously meanwhile are taken in like any others.
 */

import {
  Accept,
  type Clock,
  type Packet,
  PktkitError,
  type Random32,
  random32,
} from '@pktkit/core';
import { resolveOptions, type TcpConfig } from './config.ts';
import type { AckSample } from './congestion/congestion.ts';
import { Connection } from './connection.ts';
import { readSegment } from './demux.ts';
import { TcpError } from './errors.ts';
import { ExpiryQueue } from './expiry-queue.ts';
import {
  Endpoints,
  FLOW_CONNECTION,
  FLOW_REQUEST,
  FLOW_TIME_WAIT,
  type Flow,
  FlowKey,
  FlowMap,
} from './flow.ts';
import { adoptSyn, appendSynData, beginPassive, type SynOptions, synOptions } from './handshake.ts';
import { quotedFlow, takeIcmpError } from './icmp.ts';
import { initialSequence } from './isn.ts';
import { Listener } from './listener.ts';
import { PagePool } from './paged-buffer.ts';
import { PortAllocator } from './ports.ts';
import { handleSegment } from './receive.ts';
import { bareSegment, Replies } from './replies.ts';
import { Covered, ScoreboardPool } from './scoreboard.ts';
import { ACK, FIN, RST, Segment, SYN } from './segment.ts';
import { seqGt } from './seq.ts';
import { SipHash } from './siphash.ts';
import type { StackCore } from './stack-core.ts';
import {
  EVENT_ACCEPTED,
  EVENT_CLOSED,
  EVENT_CONNECTED,
  EVENT_END,
  EVENT_READABLE,
  EVENT_WRITABLE,
  SYN_RECEIVED,
  SYN_SENT,
  TIME_WAIT,
} from './state.ts';
import { newStats } from './stats.ts';
import { SynCookies } from './syn-cookie.ts';
import { PendingSyn, type RequestOwner } from './syn-request.ts';
import { TimeWait } from './time-wait.ts';
import { TimerPool } from './timer-pool.ts';
import { armTimer, onTimer } from './timers.ts';
import type { TcpTraceEvent } from './trace.ts';
import { transmit } from './transmit.ts';
import type {
  ConnectOptions,
  ListenOptions,
  SynRequest,
  TcpConnection,
  TcpListener,
  TcpOptions,
  TcpStackOptions,
  TcpStackStats,
} from './types.ts';

export class TcpStack implements StackCore, RequestOwner {
  readonly clock: Clock;
  readonly output: (packet: Packet) => void;
  readonly offload: number;
  readonly stats: TcpStackStats = newStats();
  readonly pages: PagePool;
  readonly boards: ScoreboardPool = new ScoreboardPool();
  readonly timers: TimerPool;
  readonly covered: Covered = new Covered();
  readonly sample: AckSample = {
    now: 0.5,
    acked: 0,
    srtt: 0.5,
    rtt: -0.5,
    minRtt: 0.5,
    inFlight: 0,
    cwndLimited: false,
    una: 0,
    nxt: 0,
  };
  /** @internal The clock's time when this call, or this batch's end, began. */
  now: number;
  readonly #options: TcpStackOptions;
  readonly #defaults: TcpConfig;
  readonly #random: Random32;
  readonly #hash: SipHash;
  readonly #cookies: SynCookies;
  readonly #ports: PortAllocator;
  readonly #flows: FlowMap;
  readonly #listeners: Map<number, Listener[]> = new Map();
  readonly #segment: Segment = new Segment();
  readonly #key: FlowKey = new FlowKey();
  readonly #replies: Replies = new Replies();
  readonly #maxConnections: number;
  readonly #maxTimeWait: number;
  readonly #maxHalfOpen: number;
  readonly #maxRequests: number;
  readonly #challengeLimit: number;
  #mtu: number;
  #connections = 0;
  #halfOpen = 0;
  #dirty: Connection[] = [];
  #spareDirty: Connection[] = [];
  #registered = false;
  #newRequests: PendingSyn[] = [];
  #cancelled: PendingSyn[] = [];
  readonly #timeWaits: ExpiryQueue<TimeWait>;
  readonly #requests: ExpiryQueue<PendingSyn>;
  #failures: unknown[] = [];
  /** When a SYN cookie was last sent: an ACK that comes much later cannot hold one. */
  #cookieAt: number = Number.NEGATIVE_INFINITY;
  #challenges = 0;
  #challengeSecond: number = Number.NEGATIVE_INFINITY;
  #closed = false;
  readonly #flush = () => this.#endOfBatch();

  constructor(options: TcpStackOptions) {
    const { limits = {} } = options;
    this.#options = options;
    this.clock = options.clock;
    this.timers = new TimerPool(options.clock, onTimer);
    this.now = options.clock.now + 0.5 - 0.5;
    this.output = options.output;
    this.offload = options.offload ?? Accept.ALL;
    this.#mtu = 0;
    this.mtu = options.mtu ?? 1500;
    this.#random = options.random ?? random32;
    this.#defaults = resolveOptions(options.defaults);
    this.#hash = new SipHash(this.#random);
    this.#cookies = new SynCookies(this.#hash);
    const [first, last] = options.ephemeralPorts ?? [32768, 60999];
    if (!(first >= 1 && first <= last && last <= 65535)) {
      throw invalid(`ephemeralPorts is a range within 1 to 65535, got ${first} to ${last}`);
    }
    this.#ports = new PortAllocator(this.#hash, first, last);
    this.#maxConnections = limits.connections ?? 65536;
    this.#maxTimeWait = limits.timeWait ?? 16384;
    this.#maxHalfOpen = limits.halfOpen ?? 4096;
    this.#maxRequests = limits.synRequests ?? 1024;
    this.#flows = new FlowMap(
      this.#random,
      Math.min(2 ** 24, this.#maxConnections + this.#maxTimeWait + this.#maxRequests + 2),
    );
    this.pages = new PagePool(limits.bufferedBytes ?? 512 << 20);
    this.#timeWaits = new ExpiryQueue(this.clock, options.timeWait ?? 60_000, (entry) => {
      entry.active = false;
      this.#flows.remove(entry);
    });
    this.#requests = new ExpiryQueue(this.clock, options.synRequestTimeout ?? 75_000, (request) => {
      this.#flows.remove(request);
      this.#cancel(request);
    });
    this.#challengeLimit = options.challengeAcks ?? 100;
  }

  get mtu(): number {
    return this.#mtu;
  }

  /** Largest IP packet of the link, 576 to 65,535. Holds for connections made from now on. */
  set mtu(mtu: number) {
    if (!(mtu >= 576 && mtu <= 65535)) throw invalid(`an MTU is 576 to 65535, got ${mtu}`);
    this.#mtu = mtu;
  }

  /** Connections in any state but TIME-WAIT. */
  get connections(): number {
    return this.#connections;
  }

  /** @internal */
  get tracing(): boolean {
    return this.#options.onTrace !== undefined;
  }

  /** Opens a connection. Throws `TcpError`: the port is taken, none is free, or a limit is reached. */
  connect(options: ConnectOptions): TcpConnection {
    if (this.#closed) throw new PktkitError('PKT_CLOSED', 'the stack is closed');
    const { local, remote, remotePort } = options;
    if (local.family !== remote.family) {
      throw new TypeError(`${local} and ${remote} are of different families`);
    }
    checkPort(remotePort, 'remotePort');
    const config = resolveOptions(options.options, this.#defaults);
    if (this.#connections >= this.#maxConnections) {
      throw new TcpError(
        'ENOBUFS',
        `the stack's limit of ${this.#maxConnections} connections is reached`,
      );
    }
    this.now = this.clock.now;
    const key = new FlowKey();
    key.set(local, options.localPort ?? 0, remote, remotePort);
    if (options.localPort === undefined) {
      const port = this.#ports.next(key, (candidate) => {
        if (this.#listeners.has(candidate)) return false;
        key.ports = (candidate << 16) | remotePort;
        return this.#release(key);
      });
      if (port < 0) {
        throw new TcpError(
          'EADDRNOTAVAIL',
          `no ephemeral port is free for ${remote}:${remotePort}`,
        );
      }
      key.ports = (port << 16) | remotePort;
    } else {
      checkPort(options.localPort, 'localPort');
      if (!this.#release(key)) {
        throw new TcpError(
          'EADDRINUSE',
          `${local}:${options.localPort} is connected there already`,
        );
      }
    }
    const connection = new Connection(this, key, config, this.#isn(key));
    this.stats.activeOpens++;
    this.#add(connection);
    connection.setState(SYN_SENT);
    connection.synOwed = true;
    this.mark(connection);
    return connection;
  }

  /** Waits for connections. Throws `TcpError` `EADDRINUSE`. */
  listen(options: ListenOptions): TcpListener {
    if (this.#closed) throw new PktkitError('PKT_CLOSED', 'the stack is closed');
    checkPort(options.port, 'port');
    const config = resolveOptions(options.options, this.#defaults);
    const others = this.#listeners.get(options.port) ?? [];
    const address = options.address ?? null;
    for (const other of others) {
      const same = address === null ? other.address === null : other.address?.equals(address);
      if (same) throw new TcpError('EADDRINUSE', `port ${options.port} has a listener already`);
    }
    const listener = new Listener(
      options,
      config,
      (gone) => this.#removeListener(gone),
      (change) => {
        this.#halfOpen += change;
      },
    );
    this.#listeners.set(options.port, [...others, listener]);
    return listener;
  }

  /** Takes a validated IP packet that holds TCP; the window is borrowed. Calls nothing out but `onUnmatched`. */
  handlePacket(packet: Packet): void {
    const stats = this.stats;
    const segment = this.#segment;
    const key = this.#key;
    const fault = readSegment(packet, segment, key);
    if (fault !== null) {
      stats[fault]++;
      return;
    }
    this.now = this.clock.now;
    stats.segmentsIn++;
    stats.bytesIn += segment.dataLen;
    const flow = this.#flows.find(key);
    if (flow === null) {
      this.#unmatched(packet, segment, key);
    } else if (flow.kind === FLOW_CONNECTION) {
      handleSegment(flow as Connection, segment);
    } else if (flow.kind === FLOW_REQUEST) {
      this.#whilePending(flow as PendingSyn, segment);
    } else {
      this.#inTimeWait(packet, flow as TimeWait, segment, key);
    }
  }

  /** Takes an ICMP or ICMPv6 packet; true when it was an error about one of this stack's flows. */
  handleIcmp(packet: Packet): boolean {
    const key = this.#key;
    const error = quotedFlow(packet, key);
    if (error === null) return false;
    const flow = this.#flows.find(key);
    if (flow === null || flow.kind !== FLOW_CONNECTION) return false;
    this.stats.icmpErrors++;
    this.now = this.clock.now;
    if (!takeIcmpError(flow as Connection, error)) this.stats.dropIcmp++;
    return true;
  }

  /** Resets every connection. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const listeners of [...this.#listeners.values()]) {
      for (const listener of [...listeners]) listener.close();
    }
    for (const flow of this.#flows.all()) {
      if (flow.kind === FLOW_CONNECTION) (flow as Connection).abort();
      else if (flow.kind === FLOW_REQUEST) {
        this.removeRequest(flow as PendingSyn);
        this.#cancel(flow as PendingSyn);
      } else this.#endTimeWait(flow as TimeWait);
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }

  // For the parts of the engine.

  /** @internal */
  timestampOffset(): number {
    return this.#options.timestampOffset ?? this.#random() | 0;
  }

  /** @internal */
  mark(connection: Connection): void {
    if (connection.dirty) return;
    connection.dirty = true;
    this.#dirty.push(connection);
    this.#register();
  }

  /** @internal */
  deliver(c: Connection, events: number): void {
    if (events === 0) return;
    try {
      if ((events & EVENT_ACCEPTED) !== 0) c.acceptor?.(c);
      if ((events & EVENT_CONNECTED) !== 0) c.onConnected(c);
      if ((events & EVENT_READABLE) !== 0 && c.readable > 0) c.onReadable(c);
      if ((events & EVENT_WRITABLE) !== 0) {
        // The acknowledgement that made room may also have shown a loss, and the smaller window taken the room back.
        if (c.writable > 0) c.onWritable(c);
        else c.wantsWrite = true;
      }
      if ((events & EVENT_END) !== 0) c.onEnd(c);
      if ((events & EVENT_CLOSED) !== 0) c.onClosed(c.error, c);
    } catch (error) {
      this.#failures.push(error);
    }
  }

  /** @internal */
  remove(c: Connection): void {
    if (c.removed) return;
    c.removed = true;
    this.#flows.remove(c);
    this.#connections--;
  }

  /** @internal */
  enterTimeWait(c: Connection): void {
    c.setState(TIME_WAIT);
    const ackOwed = c.ackNow || c.ackDelayed || c.rcvNxt !== c.lastAckSent;
    c.stopTimers();
    c.board.clear();
    c.send.discard();
    this.remove(c);
    const entry = new TimeWait(c);
    c.timeWait = entry;
    this.#flows.add(entry);
    this.#timeWaits.append(entry, this.now);
    if (this.#timeWaits.size > this.#maxTimeWait) {
      this.stats.timeWaitEvicted++;
      this.#endTimeWait(this.#timeWaits.oldest as TimeWait);
    }
    if (ackOwed) entry.acknowledge(this);
    c.receive.disown();
    c.events |= EVENT_CLOSED;
    this.mark(c);
  }

  /** @internal */
  established(c: Connection): void {
    this.stats.established++;
    const listener = c.listener;
    if (listener === null) return;
    listener.leave(c);
    c.acceptor = listener.onConnection;
    c.events |= EVENT_ACCEPTED;
  }

  /** @internal */
  mayChallenge(): boolean {
    const second = Math.floor(this.now / 1000);
    if (second !== this.#challengeSecond) {
      this.#challengeSecond = second;
      // RFC 5961 §7 with a random part, so that the count cannot be probed from outside (CVE-2016-5696).
      const half = this.#challengeLimit >>> 1;
      this.#challenges = half + (half === 0 ? this.#challengeLimit : this.#random() % (half + 1));
    }
    if (this.#challenges <= 0) {
      this.stats.challengeAcksLimited++;
      return false;
    }
    this.#challenges--;
    this.stats.challengeAcks++;
    return true;
  }

  /** @internal */
  reply(
    flow: Flow,
    seq: number,
    ack: number,
    flags: number,
    window: number,
    tsVal: number,
    tsEcr: number,
  ): void {
    if (this.#replies.isFull) {
      this.stats.dropReplies++;
      return;
    }
    if ((flags & RST) !== 0) this.stats.resetsOut++;
    this.stats.segmentsOut++;
    this.#replies.push(bareSegment(flow, seq, ack, flags, window, tsVal, tsEcr, this.offload));
    this.#register();
  }

  /** @internal */
  refuse(flow: Flow, segment: Segment): void {
    if ((segment.flags & RST) !== 0) return;
    if ((segment.flags & ACK) !== 0) this.reply(flow, segment.ack, 0, RST, 0, 0, 0);
    else this.reply(flow, 0, (segment.seq + segment.length) | 0, RST | ACK, 0, 0, 0);
  }

  /** @internal */
  trace(c: Connection, name: TcpTraceEvent['name'], data: TcpTraceEvent['data']): void {
    this.#options.onTrace?.({
      time: this.now,
      flow: `${c.local}:${c.localPort}>${c.remote}:${c.remotePort}`,
      name,
      state: c.state,
      data,
    });
  }

  /** @internal */
  acceptRequest(request: PendingSyn, options: TcpOptions | undefined): Connection {
    this.now = this.clock.now;
    const config = resolveOptions(options, this.#defaults);
    this.removeRequest(request);
    return this.#openPassive(keyOf(request), request.syn, config, null);
  }

  /** @internal */
  rejectRequest(request: PendingSyn): void {
    this.now = this.clock.now;
    this.removeRequest(request);
    this.reply(request, 0, (request.syn.seq + 1) | 0, RST | ACK, 0, 0, 0);
  }

  /** @internal */
  removeRequest(request: PendingSyn): void {
    this.#flows.remove(request);
    this.#requests.remove(request);
  }

  // Segments without a connection.

  #unmatched(packet: Packet, segment: Segment, key: FlowKey, minIsn = 0): void {
    const { flags } = segment;
    if (!this.#closed && (flags & (SYN | ACK | RST)) === SYN) {
      const listener = this.#listenerFor(key, segment.dstPort);
      if (listener !== null) {
        this.#onListenerSyn(listener, segment, key, minIsn);
        return;
      }
      if (this.#options.onSyn !== undefined) {
        this.#offerSyn(segment, key);
        return;
      }
    } else if ((flags & (SYN | ACK | RST)) === ACK && this.now - this.#cookieAt < COOKIE_LIFE) {
      const listener = this.#listenerFor(key, segment.dstPort);
      if (listener !== null && this.#fromCookie(listener, segment, key)) return;
    }
    if ((flags & (ACK | RST)) === 0 && this.#listenerFor(key, segment.dstPort) !== null) {
      // RFC 9293 §3.10.7.2: what must have an ACK and has none is no business of a listener.
      this.stats.dropNoAck++;
      return;
    }
    if (this.#options.onUnmatched?.(packet) === true) return;
    this.refuse(new Endpoints(key), segment);
  }

  #listenerFor(key: FlowKey, port: number): Listener | null {
    const listeners = this.#listeners.get(port);
    if (listeners === undefined) return null;
    let any: Listener | null = null;
    for (const listener of listeners) {
      const address = listener.address;
      if (address === null) any = listener;
      else if (
        address.family === key.family &&
        address.w3 === key.l3 &&
        address.w2 === key.l2 &&
        address.w1 === key.l1 &&
        address.w0 === key.l0
      ) {
        return listener;
      }
    }
    return any;
  }

  #onListenerSyn(listener: Listener, segment: Segment, key: FlowKey, minIsn: number): void {
    const policy = this.#options.synCookies ?? true;
    const full = listener.halfOpen >= listener.backlog || this.#halfOpen >= this.#maxHalfOpen;
    if (
      listener.paused ||
      this.#connections >= this.#maxConnections ||
      (full && policy === false)
    ) {
      this.stats.dropSynLimit++;
      return;
    }
    if (full || policy === 'always') {
      this.#sendCookie(listener, segment, key);
      return;
    }
    const c = this.#openPassive(key, synOptions(segment), listener.config, listener, minIsn);
    if (segment.dataLen > 0 && (segment.flags & FIN) === 0) appendSynData(c, segment);
  }

  #openPassive(
    key: FlowKey,
    syn: SynOptions,
    config: TcpConfig,
    listener: Listener | null,
    minIsn = 0,
  ): Connection {
    let iss = this.#isn(key);
    if (minIsn !== 0 && !seqGt(iss, minIsn)) iss = minIsn;
    const c = new Connection(this, key, config, iss);
    this.stats.passiveOpens++;
    this.#add(c);
    listener?.enter(c);
    beginPassive(c, syn);
    return c;
  }

  #offerSyn(segment: Segment, key: FlowKey): void {
    if (this.#requests.size >= this.#maxRequests || this.#connections >= this.#maxConnections) {
      this.stats.dropSynLimit++;
      return;
    }
    const request = new PendingSyn(this, key, synOptions(segment));
    this.#flows.add(request);
    this.#requests.append(request, this.now);
    this.#newRequests.push(request);
    this.#register();
  }

  #whilePending(request: PendingSyn, segment: Segment): void {
    // Anything but the peer giving up is the SYN again, or of no meaning yet.
    if (!request.isCancelledBy(segment)) return;
    this.stats.resetsIn++;
    this.removeRequest(request);
    this.#cancel(request);
  }

  #cancel(request: PendingSyn): void {
    request.pending = false;
    this.#cancelled.push(request);
    this.#register();
  }

  #inTimeWait(packet: Packet, entry: TimeWait, segment: Segment, key: FlowKey): void {
    if (entry.allowsReuse(segment)) {
      this.stats.timeWaitReused++;
      this.#endTimeWait(entry);
      // Ahead of everything the old connection sent (RFC 9293 §3.10.7.4, TIME-WAIT).
      this.#unmatched(packet, segment, key, (entry.nxt + 65537) | 0 || 1);
      return;
    }
    if (entry.handle(segment, this)) {
      this.#timeWaits.remove(entry);
      this.#timeWaits.append(entry, this.now);
    }
  }

  #endTimeWait(entry: TimeWait): void {
    entry.active = false;
    this.#timeWaits.remove(entry);
    this.#flows.remove(entry);
  }

  // SYN cookies.

  #sendCookie(listener: Listener, segment: Segment, key: FlowKey): void {
    if (this.#replies.isFull) {
      this.stats.dropReplies++;
      return;
    }
    this.#cookieAt = this.now;
    this.stats.synCookiesSent++;
    this.stats.segmentsOut++;
    const { config } = listener;
    this.#replies.push(
      this.#cookies.answer(key, segment, config, this.#mtu, this.now, this.offload),
    );
    this.#register();
  }

  /** The ACK that completes a handshake which only the cookie remembers. */
  #fromCookie(listener: Listener, segment: Segment, key: FlowKey): boolean {
    const { config } = listener;
    const syn = this.#cookies.restore(key, segment, config, this.now);
    if (syn === null || listener.paused || this.#connections >= this.#maxConnections) {
      this.stats.synCookiesRejected++;
      return false;
    }
    const c = new Connection(this, key, config, (segment.ack - 1) | 0);
    c.tsOffset = this.#cookies.timestampOffset(key);
    this.stats.synCookiesAccepted++;
    this.stats.passiveOpens++;
    this.#add(c);
    listener.enter(c);
    c.passive = true;
    adoptSyn(c, syn);
    c.ecnOn = syn.ecn && config.ecn !== false;
    c.setState(SYN_RECEIVED);
    handleSegment(c, segment);
    return true;
  }

  // Housekeeping.

  #add(c: Connection): void {
    this.#flows.add(c);
    this.#connections++;
  }

  #isn(key: FlowKey): number {
    const make = this.#options.isn;
    if (make === undefined) return initialSequence(this.#hash, key, this.now);
    const ends = new Endpoints(key);
    return make(ends.local, ends.localPort, ends.remote, ends.remotePort) | 0;
  }

  /** True when the four-tuple is free, or was in a TIME-WAIT that a new connection may end (RFC 6191). */
  #release(key: FlowKey): boolean {
    const flow = this.#flows.find(key);
    if (flow === null) return true;
    if (flow.kind !== FLOW_TIME_WAIT) return false;
    const entry = flow as TimeWait;
    if (!entry.tsOn || !entry.hasRested(this.now)) return false;
    this.stats.timeWaitReused++;
    this.#endTimeWait(entry);
    return true;
  }

  #removeListener(gone: Listener): void {
    const rest = (this.#listeners.get(gone.port) ?? []).filter((listener) => listener !== gone);
    if (rest.length > 0) this.#listeners.set(gone.port, rest);
    else this.#listeners.delete(gone.port);
  }

  #register(): void {
    if (this.#registered) return;
    this.#registered = true;
    this.clock.endOfBatch(this.#flush);
  }

  #endOfBatch(): void {
    this.#registered = false;
    this.now = this.clock.now;
    if (this.#newRequests.length > 0 || this.#cancelled.length > 0) this.#handOutRequests();
    const dirty = this.#dirty;
    this.#dirty = this.#spareDirty;
    for (let i = 0; i < dirty.length; i++) {
      const c = dirty[i];
      // Still marked: what handlers do now is sent below, in the same round.
      c.dispatch();
      // Not any more: what comes back while this one sends must mark it again (VTCP-18).
      c.dirty = false;
      transmit(c);
      armTimer(c);
      c.settle();
    }
    while (dirty.length > 0) dirty.pop();
    this.#spareDirty = dirty;
    if (!this.#replies.isEmpty) this.#replies.drain(this.output);
    if (this.#failures.length > 0) this.#reportFailures();
  }

  #handOutRequests(): void {
    const requests = this.#newRequests;
    const cancelled = this.#cancelled;
    this.#newRequests = [];
    this.#cancelled = [];
    for (const request of requests) {
      if (!request.pending) continue;
      try {
        this.#options.onSyn?.(request as SynRequest);
      } catch (error) {
        this.#failures.push(error);
      }
    }
    for (const request of cancelled) {
      try {
        request.onCancel();
      } catch (error) {
        this.#failures.push(error);
      }
    }
  }

  /** Handlers' errors reach the program when everything else has been done. */
  #reportFailures(): void {
    const failures = this.#failures;
    this.#failures = [];
    throw failures.length === 1 ? failures[0] : new AggregateError(failures, 'handlers failed');
  }
}

/** Two ticks of the cookies' counter. */
const COOKIE_LIFE = 128_000;

function keyOf(flow: Flow): FlowKey {
  const key = new FlowKey();
  key.set(flow.local, flow.localPort, flow.remote, flow.remotePort);
  return key;
}

function checkPort(port: number, name: string): void {
  if (!Number.isInteger(port) || port < 1 || port > 65535) {
    throw new RangeError(`${name} is 1 to 65535, got ${port}`);
  }
}

function invalid(message: string): PktkitError {
  return new PktkitError('PKT_INVALID_CONFIG', message);
}
