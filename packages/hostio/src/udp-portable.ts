/** The portable tier: `node:dgram`, one datagram at a time. */

import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import {
  type Clock,
  copyBytes,
  IpAddr as Ip,
  type IpAddr,
  PktkitError,
  systemClock,
} from '@pktkit/core';
import { PeerTable, parseZoned } from './peers.ts';
import {
  MAX_DATAGRAM,
  type UdpOptions,
  type UdpReceive,
  type UdpSocket,
  type UdpStats,
  udpStats,
} from './udp-types.ts';

/** Bytes that may wait in the event loop to be sent: more than the kernel takes at once, less than a memory problem. */
const QUEUE_BYTES = 4 << 20;
/** Senders whose text form is remembered; the map is emptied beyond. */
const CACHED_SENDERS = 4096;

interface Target {
  readonly address: string;
  readonly port: number;
}

/** Bytes of the copies that are used again, and how many of them are kept. */
const SMALL = 2048;
const SPARE = 256;
const spare: Sending[] = [];

/** A datagram on its way through the event loop. Used again, since an array of 1400 bytes costs more than filling it. */
class Sending {
  readonly bytes: Uint8Array;
  socket: PortableUdpSocket | null = null;
  len = 0;
  to = -1;
  readonly done = (error: Error | null): void => {
    const { socket, len, to } = this;
    this.socket = null;
    if (this.bytes.length === SMALL && spare.length < SPARE) spare.push(this);
    socket?.onSent(error, len, to);
  };

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
  }
}

export class PortableUdpSocket implements UdpSocket {
  readonly io = 'portable';
  readonly stats: UdpStats = udpStats();
  readonly closed: Promise<void>;
  readonly address: IpAddr;
  readonly port: number;
  readonly remote: number = -1;
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #peers: PeerTable;
  readonly #receive: UdpReceive;
  readonly #options: UdpOptions;
  readonly #family: 4 | 6;
  /** By the text of address and port, as `node:dgram` gives them. */
  readonly #senders = new Map<string, number>();
  /** Mostly the next datagram is from the same: comparing texts is cheaper than making and hashing one. */
  readonly #lastSender = { address: '', port: -1, handle: -1 };
  /** The texts for handles in use. */
  readonly #targets = new Map<number, Target>();
  #open = true;

  private constructor(socket: Socket, family: 4 | 6, options: UdpOptions) {
    this.#socket = socket;
    this.#family = family;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#peers = new PeerTable(options.maxPeers ?? 65536);
    this.#receive = options.onReceive;
    const bound = socket.address();
    this.address = Ip.parse(bound.address);
    this.port = bound.port;
    if (options.connect !== undefined) {
      this.remote = this.peer(options.connect.address, options.connect.port);
    }
    this.closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('message', (message, from) => this.#onMessage(message, from));
    socket.on('error', (error) => this.#onError(error, this.remote));
  }

  static async open(options: UdpOptions): Promise<PortableUdpSocket> {
    refuseUnsupported(options);
    const wanted = options.address;
    try {
      return await PortableUdpSocket.#openFamily(
        options,
        wanted === undefined ? Ip.ANY6 : Ip.from(wanted),
      );
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      const noIpv6 = code === 'EAFNOSUPPORT' || code === 'EADDRNOTAVAIL';
      if (wanted !== undefined || !noIpv6) throw error;
      return await PortableUdpSocket.#openFamily(options, Ip.ANY4);
    }
  }

  static async #openFamily(options: UdpOptions, address: IpAddr): Promise<PortableUdpSocket> {
    const { family } = address;
    const socket = createSocket({
      type: family === 4 ? 'udp4' : 'udp6',
      ipv6Only: options.ipv6Only ?? false,
      recvBufferSize: options.receiveBuffer ?? 4 << 20,
      sendBufferSize: options.sendBuffer ?? 4 << 20,
      // Every address is numeric: no resolver, and no turn of the event loop for it.
      lookup: (host, _options, callback) => callback(null, host, family),
    });
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('error', reject);
        socket.bind(
          { port: options.port ?? 0, address: address.toString(), exclusive: true },
          () => {
            socket.removeListener('error', reject);
            resolve();
          },
        );
      });
      if (options.broadcast === true) socket.setBroadcast(true);
      const { connect } = options;
      if (connect !== undefined) {
        await new Promise<void>((resolve, reject) => {
          socket.once('error', reject);
          socket.connect(connect.port, `${connect.address}`, () => {
            socket.removeListener('error', reject);
            resolve();
          });
        });
      }
    } catch (error) {
      socket.close();
      throw error;
    }
    return new PortableUdpSocket(socket, family, options);
  }

  peer(address: IpAddr | string, port: number): number {
    const { addr, zone } = parseZoned(address);
    const handle = this.#intern(addr, port, zone);
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

  send(buf: Uint8Array, off: number, len: number, to: number): void {
    const { stats } = this;
    if (!this.#open) {
      stats.dropClosed++;
      return;
    }
    if (len > MAX_DATAGRAM) {
      stats.dropTooLong++;
      return;
    }
    const target = this.#target(to);
    if (target === null) {
      stats.dropStalePeer++;
      return;
    }
    if (this.#socket.getSendQueueSize() > QUEUE_BYTES) {
      stats.dropSendFull++;
      return;
    }
    stats.sendCalls++;
    // The event loop may send later: a copy that it can keep.
    const sending = (len <= SMALL ? spare.pop() : undefined) ?? new Sending(Math.max(SMALL, len));
    sending.socket = this;
    sending.len = len;
    sending.to = to;
    copyBytes(sending.bytes, 0, buf, off, len);
    const bytes = sending.bytes.subarray(0, len);
    if (this.remote >= 0) this.#socket.send(bytes, sending.done);
    else this.#socket.send(bytes, target.port, target.address, sending.done);
  }

  /** Told by `Sending`. */
  onSent(error: Error | null, len: number, to: number): void {
    if (error === null) {
      this.stats.sent++;
      this.stats.sentBytes += len;
    } else {
      this.stats.dropSendError++;
      this.#onError(error, to);
    }
  }

  flush(): void {}

  setMark(_mark: number): void {
    refuse(['mark']);
  }

  ref(): void {
    this.#socket.ref();
  }

  unref(): void {
    this.#socket.unref();
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #onMessage(message: Uint8Array, from: RemoteInfo): void {
    if (!this.#open) return;
    const { stats } = this;
    const handle = this.#sender(from);
    if (handle < 0) {
      stats.dropPeers++;
      return;
    }
    stats.receiveCalls++;
    stats.received++;
    stats.receivedBytes += message.length;
    // Our callers see plain arrays only: a `Buffer` would make their byte code slower for good.
    const bytes = new Uint8Array(message.buffer, message.byteOffset, message.length);
    this.#clock.beginBatch();
    try {
      this.#receive(bytes, 0, bytes.length, handle, -1);
    } finally {
      this.#clock.endBatch();
    }
  }

  #onError(error: Error, peer: number): void {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    if (code === 'ECONNREFUSED') this.stats.networkErrors++;
    this.#options.onError?.({ code, peer, mtu: 0 });
  }

  #sender(from: RemoteInfo): number {
    const last = this.#lastSender;
    if (
      from.port !== last.port ||
      from.address !== last.address ||
      this.#peers.record(last.handle) < 0
    ) {
      last.handle = this.#findSender(from);
      last.address = from.address;
      last.port = from.port;
    }
    return last.handle;
  }

  #findSender(from: RemoteInfo): number {
    const key = `${from.address} ${from.port}`;
    const known = this.#senders.get(key);
    if (known !== undefined && this.#peers.record(known) >= 0) return known;
    const { addr, zone } = parseZoned(from.address);
    const handle = this.#intern(addr, from.port, zone);
    if (handle < 0) return -1;
    if (this.#senders.size >= CACHED_SENDERS) this.#senders.clear();
    this.#senders.set(key, handle);
    return handle;
  }

  #intern(addr: IpAddr, port: number, zone: number): number {
    const { w0, w1, w2, w3 } = addr;
    return this.#peers.intern(w0, w1, w2, w3, port, zone);
  }

  #target(handle: number): Target | null {
    const record = this.#peers.record(handle);
    if (record < 0) {
      this.#targets.delete(handle);
      return null;
    }
    const known = this.#targets.get(handle);
    if (known !== undefined) return known;
    const addr = this.#peers.address(handle);
    const zone = this.#peers.zone(record);
    let address = addr.toString();
    // A socket of the other family takes the mapped form (RFC 4291 §2.5.5.2).
    if (addr.family === 4 && this.#family === 6) address = `::ffff:${address}`;
    else if (zone !== 0) address = `${address}%${zone}`;
    const target = { address, port: this.#peers.port(record) };
    if (this.#targets.size >= CACHED_SENDERS) this.#targets.clear();
    this.#targets.set(handle, target);
    return target;
  }
}

/** What `node:dgram` of the oldest supported Node cannot do is refused, not ignored. */
function refuseUnsupported(options: UdpOptions): void {
  const known = ['reusePort', 'tos', 'mark', 'dontFragment', 'netns', 'stickySource'] as const;
  const asked = known.filter((name) => options[name] !== undefined && options[name] !== false);
  if (asked.length > 0) refuse(asked);
}

function refuse(asked: readonly string[]): never {
  throw new PktkitError(
    'PKT_UNSUPPORTED',
    `the portable UDP tier does not know ${asked.join(', ')}: use io 'batched' (Linux with koffi)`,
  );
}
