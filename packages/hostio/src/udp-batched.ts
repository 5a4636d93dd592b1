/** The batched tier: `recvmmsg` with UDP_GRO, `sendmmsg` with UDP_SEGMENT, and the error queue. Linux only. */

import { type Clock, type IpAddr, PktkitError, systemClock } from '@pktkit/core';
import { closeDescriptor } from './descriptor.ts';
import {
  AF_INET,
  EAGAIN,
  EINTR,
  EINVAL,
  EIO,
  EMSGSIZE,
  ENOBUFS,
  EPOLLERR,
  EPOLLIN,
  EPOLLOUT,
  MSG_DONTWAIT,
} from './linux.ts';
import { errnoName, type Libc, libc } from './native.ts';
import { PeerTable, parseZoned, recordOf } from './peers.ts';
import { type Registration, rethrowLater, watch } from './reactor.ts';
import { RECEIVE_SLOTS, type ReceiveRing, receiveRing } from './receive-ring.ts';
import { type BatchHolder, giveBatch, singleBatch, takeBatch } from './send-batches.ts';
import { sockaddrPort, sockaddrWord, sockaddrZone, writeSockaddr } from './sockaddr.ts';
import { readErrors } from './udp-errors.ts';
import { type OpenedUdp, openUdp, setMark } from './udp-open.ts';
import type { SendBatch } from './udp-send.ts';
import {
  MAX_DATAGRAM,
  type UdpError,
  type UdpOptions,
  type UdpReceive,
  type UdpSocket,
  type UdpStats,
  udpStats,
} from './udp-types.ts';

/** Bytes and calls that one socket delivers before others get their turn. */
const BUDGET_BYTES = 1 << 20;
const BUDGET_CALLS = 4;
/** A firewall may refuse a datagram and answer it with an ICMP error as well: that must not go on for ever. */
const MAX_RETRIES = 8;
/** Words kept for each peer's last local address, and its interface. */
const LOCAL_WORDS = 5;

export class BatchedUdpSocket implements UdpSocket, BatchHolder {
  readonly io = 'batched';
  readonly stats: UdpStats = udpStats();
  readonly closed: Promise<void>;
  readonly address: IpAddr;
  readonly port: number;
  readonly remote: number = -1;
  readonly #api: Libc = libc();
  readonly #fd: number;
  readonly #family: number;
  readonly #clock: Clock;
  readonly #receive: UdpReceive;
  readonly #onError: ((error: UdpError) => void) | undefined;
  readonly #registration: Registration;
  readonly #ring: ReceiveRing = receiveRing();
  readonly #peers: PeerTable;
  readonly #sticky: boolean;
  #gso: boolean;
  /** By the record of the peer: the run that was begun last, the longest datagram that may be segmented, local address. */
  #run: Int16Array = new Int16Array(64).fill(-1);
  #segmentLimit: Uint16Array = new Uint16Array(64).fill(MAX_DATAGRAM);
  #local: Int32Array = new Int32Array(64 * LOCAL_WORDS);
  /** The sender of the datagram before. */
  #last0 = 0;
  #last1 = 0;
  #last2 = 0;
  #last3 = 0;
  #lastPort = -1;
  #lastZone = 0;
  #lastPeer = -1;
  #lost = 0;
  #batch: SendBatch | null = null;
  #flushing = false;
  /** The run that is tried again after an error that was not its own, and how often it was. */
  #retried = -1;
  #retries = 0;
  /** What the path takes, when the kernel refused the last call for that. */
  #localMtu = 0;
  /** A flush is registered with the clock. */
  #scheduled = false;
  /** The kernel has no room: waiting for EPOLLOUT. */
  #blocked = false;
  #open = true;
  #settle: () => void = () => {};
  readonly #onFlush = (): void => {
    this.#scheduled = false;
    if (!this.#blocked) this.flush();
  };

  constructor(options: UdpOptions) {
    this.closed = new Promise((resolve) => {
      this.#settle = resolve;
    });
    this.#receive = options.onReceive;
    this.#onError = options.onError;
    this.#clock = options.clock ?? systemClock;
    this.#peers = new PeerTable(options.maxPeers ?? 65536);
    const opened: OpenedUdp = openUdp(options);
    this.#fd = opened.fd;
    this.#family = opened.family;
    this.#gso = opened.gso;
    if (!opened.gso) this.stats.gsoFallbacks++;
    if (!opened.gro) this.stats.groFallbacks++;
    this.#sticky = opened.sticky && options.connect === undefined;
    this.address = opened.address;
    this.port = opened.port;
    try {
      if (options.connect !== undefined) {
        this.remote = this.peer(options.connect.address, options.connect.port);
      }
      this.#registration = watch(this.#fd, EPOLLIN, this.#clock, (events) => this.#onReady(events));
    } catch (error) {
      closeDescriptor(this.#fd);
      throw error;
    }
    this.#registration.hold(true);
  }

  peer(address: IpAddr | string, port: number): number {
    const { addr, zone } = parseZoned(address);
    if (addr.family === 6 && this.#family === AF_INET && !addr.isV4Mapped) {
      throw new PktkitError('PKT_INVALID_CONFIG', `an IPv4 socket has no peer ${addr}`);
    }
    if (!Number.isInteger(port) || port < 1 || port > 65535) {
      throw new RangeError(`a peer's port is 1 to 65535, got ${port}`);
    }
    const handle = this.#intern(addr.w0, addr.w1, addr.w2, addr.w3, port, zone);
    if (handle < 0) throw new PktkitError('PKT_LIMIT', 'all peers are retained; raise maxPeers');
    this.#peers.retain(handle);
    return handle;
  }

  retainPeer(handle: number): void {
    this.#peers.retain(handle);
  }

  releasePeer(handle: number): void {
    this.#peers.release(handle);
  }

  formatPeer(handle: number): string {
    return this.#peers.format(handle);
  }

  peerAddress(handle: number): IpAddr {
    return this.#peers.address(handle);
  }

  peerPort(handle: number): number {
    return this.#peers.portOf(handle);
  }

  send(buf: Uint8Array, off: number, len: number, to: number, tos = -1): void {
    const { stats } = this;
    if (!this.#open) {
      stats.dropClosed++;
      return;
    }
    if (len > MAX_DATAGRAM) {
      stats.dropTooLong++;
      return;
    }
    const record = this.#peers.record(to);
    if (record < 0) {
      stats.dropStalePeer++;
      return;
    }
    let batch = this.#batch;
    if (batch !== null) {
      if (batch.append(this.#run[record], to, tos, buf, off, len)) return;
      if (!batch.hasRoom(len) && !this.#blocked && !this.#flushing) {
        this.flush();
        batch = this.#batch;
      }
    }
    batch ??= this.#takeBatch();
    if (batch === null) {
      this.#sendSingle(buf, off, len, to, tos);
    } else if (!batch.hasRoom(len)) {
      stats.dropSendFull++;
    } else {
      const run = this.#begin(batch, buf, off, len, to, tos);
      if (run < 0) stats.dropStalePeer++;
      else this.#run[recordOf(to)] = run;
    }
  }

  /** Sends what is queued now instead of at the end of the batch. */
  flush(): void {
    const batch = this.#batch;
    if (batch === null || this.#flushing) return;
    this.#flushing = true;
    this.#retried = -1;
    try {
      // A handler of errors may close us, and the batch is somebody else's then.
      while (this.#batch === batch && batch.sent < batch.runs && this.#sendOnce(batch));
    } finally {
      this.#flushing = false;
    }
    if (this.#batch !== batch) return;
    if (batch.sent < batch.runs) {
      this.#block(true);
      return;
    }
    this.#block(false);
    this.#batch = null;
    giveBatch(batch, this);
  }

  get isBlocked(): boolean {
    return this.#blocked;
  }

  setMark(mark: number): void {
    if (!this.#open) throw new PktkitError('PKT_CLOSED', 'this socket was closed');
    // What was sent before leaves with the mark that it was sent with.
    this.flush();
    setMark(this.#fd, mark);
  }

  ref(): void {
    this.#registration.hold(true);
  }

  unref(): void {
    this.#registration.hold(false);
  }

  close(): void {
    if (!this.#open) return;
    this.flush();
    this.#open = false;
    const batch = this.#batch;
    if (batch !== null) {
      for (let run = batch.sent; run < batch.runs; run++) {
        this.stats.dropSendFull += batch.count[run];
      }
      this.#batch = null;
      giveBatch(batch, this);
    }
    this.#registration.remove();
    closeDescriptor(this.#fd);
    this.#settle();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #takeBatch(): SendBatch | null {
    const batch = takeBatch(this);
    // Others may have been flushed for it, and what their handlers of errors did may have closed us or used us.
    if (batch !== null && (!this.#open || this.#batch !== null)) {
      giveBatch(batch, this);
      return this.#batch;
    }
    if (batch === null) return null;
    this.#batch = batch;
    if (!this.#scheduled) {
      this.#scheduled = true;
      this.#clock.endOfBatch(this.#onFlush);
    }
    return batch;
  }

  /** Begins a run; -1 when its peer has been forgotten. */
  #begin(
    batch: SendBatch,
    buf: Uint8Array,
    off: number,
    len: number,
    to: number,
    tos: number,
  ): number {
    const record = this.#peers.record(to);
    if (record < 0) return -1;
    const alone = !this.#gso || len > this.#segmentLimit[record];
    const run = batch.begin(to, tos, alone, buf, off, len);
    if (this.remote >= 0) batch.setNameLength(run, 0);
    else this.#putName(batch, run, record);
    return run;
  }

  #putName(batch: SendBatch, run: number, record: number): void {
    const peers = this.#peers;
    const length = writeSockaddr(
      batch.arena,
      batch.nameAt(run),
      this.#family,
      peers.word(record, 0),
      peers.word(record, 1),
      peers.word(record, 2),
      peers.word(record, 3),
      peers.port(record),
      peers.zone(record),
    );
    batch.setNameLength(run, length);
  }

  #finish(batch: SendBatch, run: number): void {
    const record = this.#peers.record(batch.peer[run]);
    const at = record * LOCAL_WORDS;
    const index = this.#sticky && record >= 0 ? this.#local[at + 4] : 0;
    batch.finish(run, this.#family, this.#local, at, index);
  }

  /** One `sendmmsg`; false when the kernel has no room now. */
  #sendOnce(batch: SendBatch): boolean {
    const { stats } = this;
    const first = batch.sent;
    if (first !== this.#retried) {
      this.#retried = first;
      this.#retries = 0;
    }
    const count = batch.runs - first;
    // Here and not once for all: a handler of errors may have sent something since the last call.
    for (let run = first; run < batch.runs; run++) this.#finish(batch, run);
    const sent = this.#api.sendmmsg(this.#fd, batch.address(first), count, MSG_DONTWAIT);
    if (sent > 0) {
      stats.sendCalls++;
      for (let run = first; run < first + sent; run++) {
        stats.sent += batch.count[run];
        stats.sentBytes += batch.bytes[run];
      }
      batch.sent += sent;
      return true;
    }
    const errno = this.#api.errno();
    if (errno === EINTR) {
      stats.interrupted++;
      return true;
    }
    if (errno === EAGAIN) return false;
    return this.#onSendError(batch, first, errno);
  }

  /** The first message was refused: mends the reason or drops it. */
  #onSendError(batch: SendBatch, run: number, errno: number): boolean {
    const { stats } = this;
    // An ICMP error that arrived before is reported by the next call, whatever that sends: hear it and try again.
    if (this.#readErrors() > 0 && this.#retries++ < MAX_RETRIES) return true;
    const record = this.#peers.record(batch.peer[run]);
    if (batch.count[run] > 1 && (errno === EINVAL || errno === EIO || errno === EMSGSIZE)) {
      // EIO: the route's device cannot finish checksums, so the kernel segments nothing there. EINVAL, EMSGSIZE: a
      // segment is longer than the route's MTU.
      stats.gsoFallbacks++;
      if (errno === EIO) this.#gso = false;
      else if (record >= 0) this.#segmentLimit[record] = batch.segment[run] - 1;
      batch.sent++;
      return this.#sendApart(batch, run);
    }
    if (this.#forgetLocal(record)) return true;
    if (errno === ENOBUFS) stats.dropSendFull += batch.count[run];
    else stats.dropSendError += batch.count[run];
    batch.sent++;
    if (errno !== ENOBUFS) this.#report(errnoName(errno), batch.peer[run], this.#localMtu);
    return true;
  }

  /** The address that the peer wrote to may be ours no longer: lets the kernel choose. False when it does already. */
  #forgetLocal(record: number): boolean {
    if (!this.#sticky || record < 0 || this.#local[record * LOCAL_WORDS + 4] === 0) return false;
    this.#local[record * LOCAL_WORDS + 4] = 0;
    return true;
  }

  /** Sends the datagrams of a run one by one. */
  #sendApart(batch: SendBatch, run: number): boolean {
    const count = batch.count[run];
    for (let i = 0; i < count; i++) {
      // Closed by a handler of errors, the batch and its bytes are not ours any more.
      if (!this.#open) {
        this.stats.dropClosed += count - i;
        break;
      }
      const at = batch.segmentAt(run, i);
      const len = batch.segmentLength(run, i);
      this.#sendSingle(batch.arena.bytes, at, len, batch.peer[run], batch.tos[run]);
    }
    return true;
  }

  /** Sends one datagram at once: an exceptional path. What the kernel has no room for is dropped. */
  #sendSingle(buf: Uint8Array, off: number, len: number, to: number, tos: number): void {
    const { stats } = this;
    let retries = 0;
    while (this.#open) {
      const single = singleBatch();
      single.clear();
      if (this.#begin(single, buf, off, len, to, tos) < 0) {
        stats.dropStalePeer++;
        return;
      }
      this.#finish(single, 0);
      if (this.#api.sendmmsg(this.#fd, single.address(0), 1, MSG_DONTWAIT) > 0) {
        stats.sendCalls++;
        stats.sent++;
        stats.sentBytes += len;
        return;
      }
      const errno = this.#api.errno();
      if (errno === EINTR) {
        stats.interrupted++;
      } else if (errno === EAGAIN || errno === ENOBUFS) {
        stats.dropSendFull++;
        return;
      } else if (
        (this.#readErrors() === 0 || retries++ === MAX_RETRIES) &&
        !this.#forgetLocal(this.#peers.record(to))
      ) {
        stats.dropSendError++;
        this.#report(errnoName(errno), to, this.#localMtu);
        return;
      }
    }
    stats.dropClosed++;
  }

  #block(on: boolean): void {
    if (on === this.#blocked) return;
    this.#blocked = on;
    this.#registration.watch(on ? EPOLLIN | EPOLLOUT : EPOLLIN);
  }

  #onReady(events: number): void {
    if ((events & EPOLLERR) !== 0) this.#readErrors();
    if ((events & EPOLLOUT) !== 0 && this.#blocked && this.#open) {
      this.#blocked = false;
      this.#registration.watch(EPOLLIN);
      this.flush();
    }
    if ((events & EPOLLIN) === 0) return;
    let budget = BUDGET_BYTES;
    for (let calls = 0; calls < BUDGET_CALLS && budget > 0 && this.#open; calls++) {
      const bytes = this.#receiveOnce();
      if (bytes < 0) return;
      budget -= bytes;
    }
  }

  /** One `recvmmsg` and its deliveries; gives the bytes received, -1 when there is no more. */
  #receiveOnce(): number {
    const { stats } = this;
    const ring = this.#ring;
    ring.prepare(RECEIVE_SLOTS);
    const count = this.#api.recvmmsg(this.#fd, ring.address, RECEIVE_SLOTS, MSG_DONTWAIT, 0);
    if (count < 0) {
      const errno = this.#api.errno();
      if (errno === EAGAIN) return -1;
      if (errno === EINTR) stats.interrupted++;
      // A pending ICMP error; whatever else it is, the readiness comes again and the event loop stays alive.
      else this.#readErrors();
      return 0;
    }
    stats.receiveCalls++;
    let bytes = 0;
    for (let slot = 0; slot < count && this.#open; slot++) bytes += this.#deliver(ring, slot);
    return count < RECEIVE_SLOTS ? -1 : bytes;
  }

  #deliver(ring: ReceiveRing, slot: number): number {
    const { stats } = this;
    const length = ring.length(slot);
    if (ring.isTruncated(slot)) {
      stats.dropTruncated++;
      return length;
    }
    ring.readAncillary(slot);
    const { segment: merged, tos, lost } = ring.ancillary;
    if (lost >= 0) {
      stats.dropReceiveFull += (lost - this.#lost) >>> 0;
      this.#lost = lost;
    }
    const from = this.#sender(ring, slot);
    const segment = merged > 0 ? merged : length;
    const datagrams = segment === 0 ? 1 : Math.ceil(length / segment);
    if (from < 0) {
      stats.dropPeers += datagrams;
      return length;
    }
    stats.received += datagrams;
    stats.receivedBytes += length;
    const { bytes } = ring.arena;
    const start = ring.dataAt(slot);
    let at = 0;
    do {
      const left = length - at;
      try {
        this.#receive(bytes, start + at, Math.min(left, segment), from, tos);
      } catch (error) {
        rethrowLater(error);
      }
      at += segment;
    } while (at < length && this.#open);
    return length;
  }

  /** The handle of a slot's sender, and its address of ours remembered for answers. */
  #sender(ring: ReceiveRing, slot: number): number {
    const { arena, ancillary } = ring;
    const at = ring.nameAt(slot);
    const w0 = sockaddrWord(arena, at, 0);
    const w1 = sockaddrWord(arena, at, 1);
    const w2 = sockaddrWord(arena, at, 2);
    const w3 = sockaddrWord(arena, at, 3);
    const port = sockaddrPort(arena, at);
    const zone = sockaddrZone(arena, at);
    let handle = this.#lastPeer;
    if (
      w3 !== this.#last3 ||
      port !== this.#lastPort ||
      w0 !== this.#last0 ||
      w1 !== this.#last1 ||
      w2 !== this.#last2 ||
      zone !== this.#lastZone ||
      this.#peers.record(handle) < 0
    ) {
      handle = this.#intern(w0, w1, w2, w3, port, zone);
      if (handle < 0) return -1;
      this.#last0 = w0;
      this.#last1 = w1;
      this.#last2 = w2;
      this.#last3 = w3;
      this.#lastPort = port;
      this.#lastZone = zone;
      this.#lastPeer = handle;
    }
    if (this.#sticky && ancillary.index !== 0) {
      const local = this.#local;
      const to = this.#peers.record(handle) * LOCAL_WORDS;
      local[to] = ancillary.local0;
      local[to + 1] = ancillary.local1;
      local[to + 2] = ancillary.local2;
      local[to + 3] = ancillary.local3;
      local[to + 4] = ancillary.index;
    }
    return handle;
  }

  #intern(w0: number, w1: number, w2: number, w3: number, port: number, zone: number): number {
    const peers = this.#peers;
    const before = peers.created;
    const handle = peers.intern(w0, w1, w2, w3, port, zone);
    if (handle < 0 || peers.created === before) return handle;
    const record = recordOf(handle);
    if (record >= this.#run.length) this.#grow(this.#run.length * 2);
    this.#run[record] = -1;
    this.#segmentLimit[record] = MAX_DATAGRAM;
    this.#local[record * LOCAL_WORDS + 4] = 0;
    return handle;
  }

  #grow(size: number): void {
    const { length } = this.#run;
    const run = new Int16Array(size).fill(-1, length);
    run.set(this.#run);
    this.#run = run;
    const limit = new Uint16Array(size);
    limit.set(this.#segmentLimit);
    this.#segmentLimit = limit;
    const local = new Int32Array(size * LOCAL_WORDS);
    local.set(this.#local);
    this.#local = local;
  }

  /** Empties the error queue; gives how many errors the network has reported. */
  #readErrors(): number {
    let reported = 0;
    this.#localMtu = 0;
    readErrors(this.#api, this.#fd, (isLocal, errno, mtu, w0, w1, w2, w3, port, zone) => {
      if (isLocal) {
        // Whoever made the call reports it, and knows the peer.
        this.#localMtu = mtu;
        return true;
      }
      reported++;
      this.stats.networkErrors++;
      const peer = port === 0 ? this.remote : this.#intern(w0, w1, w2, w3, port, zone);
      this.#report(errnoName(errno), peer, mtu);
      return this.#open;
    });
    return reported;
  }

  #report(code: string, peer: number, mtu: number): void {
    if (this.#onError === undefined) return;
    try {
      this.#onError({ code, peer, mtu });
    } catch (error) {
      rethrowLater(error);
    }
  }
}
