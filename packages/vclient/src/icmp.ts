/** ICMP of a virtual host, both families: echo served and asked, errors given to the sockets that they are about. */

import {
  type Clock,
  IcmpType,
  IcmpUnreachable,
  Icmpv6Type,
  Icmpv6Unreachable,
  IpAddr as Ip,
  type IpAddr,
  IpProtocol,
  icmp,
  ipv6Transport,
  type Packet,
  type Random32,
  type Timer,
  udp,
} from '@pktkit/core';
import { abortReason, socketError } from './errors.ts';

export interface PingOptions {
  /** Bytes of data; 56 unless told. */
  size?: number | undefined;
  /** Milliseconds; 5,000 unless told. */
  timeout?: number | undefined;
  family?: 0 | 4 | 6 | undefined;
  signal?: AbortSignal | undefined;
}

export interface PingReply {
  readonly address: string;
  /** Round trip in milliseconds. */
  readonly rtt: number;
  readonly ttl: number;
  /** Bytes of data that came back. */
  readonly size: number;
}

/** An ICMP error about a UDP datagram that this host sent. */
export interface UdpFault {
  readonly code: string;
  readonly local: IpAddr;
  readonly localPort: number;
  readonly remote: IpAddr;
  readonly remotePort: number;
}

interface PendingPing {
  readonly address: IpAddr;
  readonly sent: number;
  readonly timer: Timer;
  settle(error: Error | null, reply: PingReply | null): void;
}

/** Echo requests under way; beyond, `ping` rejects with `ENOBUFS`. */
const MAX_PINGS = 1024;

export class Pinger {
  readonly #clock: Clock;
  readonly #random: Random32;
  /** By identifier and sequence number, as the second word of the header has them. */
  readonly #pending = new Map<number, PendingPing>();

  constructor(clock: Clock, random: Random32) {
    this.#clock = clock;
    this.#random = random;
  }

  get size(): number {
    return this.#pending.size;
  }

  /** Sends through `send`, which gets the second header word and the data. */
  ping(
    address: IpAddr,
    options: PingOptions,
    send: (word: number, data: Uint8Array) => void,
  ): Promise<PingReply> {
    const { signal, timeout = 5000, size = 56 } = options;
    if (signal?.aborted) return Promise.reject(abortReason(signal));
    if (this.#pending.size >= MAX_PINGS)
      return Promise.reject(socketError('ENOBUFS', 'ping', address));
    let word = this.#random() | 0;
    while (this.#pending.has(word)) word = this.#random() | 0;
    const data = new Uint8Array(size);
    for (let i = 0; i < size; i++) data[i] = i;
    return new Promise((resolve, reject) => {
      const onAbort = () => pending.settle(abortReason(signal as AbortSignal), null);
      const pending: PendingPing = {
        address,
        sent: this.#clock.now,
        timer: this.#clock.timer(() =>
          pending.settle(socketError('ETIMEDOUT', 'ping', address), null),
        ),
        settle: (error, reply) => {
          this.#pending.delete(word);
          pending.timer.cancel();
          this.#clock.release();
          signal?.removeEventListener('abort', onAbort);
          if (error === null) resolve(reply as PingReply);
          else reject(error);
        },
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#clock.hold();
      this.#pending.set(word, pending);
      pending.timer.arm(this.#clock.now + timeout);
      send(word, data);
    });
  }

  onReply(packet: Packet, at: number, len: number): boolean {
    const { buf } = packet;
    const pending = this.#pending.get(echoWord(buf, at));
    if (pending === undefined || !pending.address.equals(packet.src)) return false;
    pending.settle(null, {
      address: pending.address.toString(),
      rtt: this.#clock.now - pending.sent,
      ttl: packet.ttl,
      size: len - 8,
    });
    return true;
  }

  /** An ICMP error whose quoted packet is an echo request of ours. */
  onError(buf: Uint8Array, at: number, code: string): boolean {
    const pending = this.#pending.get(echoWord(buf, at));
    if (pending === undefined) return false;
    pending.settle(socketError(code, 'ping', pending.address), null);
    return true;
  }

  close(): void {
    for (const pending of [...this.#pending.values()]) {
      pending.settle(socketError('ENETDOWN', 'ping', pending.address), null);
    }
  }
}

export function echoWord(buf: Uint8Array, at: number): number {
  return (icmp.id(buf, at) << 16) | icmp.seq(buf, at);
}

/** What an ICMP error means as a system error; null for those that say nothing about reachability. */
export function errorCode(v4: boolean, type: number, code: number): string | null {
  if (v4) {
    if (type === IcmpType.TIME_EXCEEDED) return 'EHOSTUNREACH';
    if (type !== IcmpType.UNREACHABLE) return null;
    switch (code) {
      case IcmpUnreachable.PORT:
        return 'ECONNREFUSED';
      case IcmpUnreachable.NETWORK:
        return 'ENETUNREACH';
      case IcmpUnreachable.FRAGMENTATION_NEEDED:
        return 'EMSGSIZE';
      default:
        return 'EHOSTUNREACH';
    }
  }
  switch (type) {
    case Icmpv6Type.UNREACHABLE:
      if (code === Icmpv6Unreachable.PORT) return 'ECONNREFUSED';
      if (code === Icmpv6Unreachable.NO_ROUTE) return 'ENETUNREACH';
      return code === Icmpv6Unreachable.PROHIBITED ? 'EACCES' : 'EHOSTUNREACH';
    case Icmpv6Type.PACKET_TOO_BIG:
      return 'EMSGSIZE';
    case Icmpv6Type.TIME_EXCEEDED:
      return 'EHOSTUNREACH';
    default:
      return null;
  }
}

/** The packet that an ICMP error quotes: its protocol and where its transport header starts, as far as it is there. */
export interface Quoted {
  readonly protocol: number;
  readonly at: number;
  readonly src: IpAddr;
  readonly dst: IpAddr;
}

/** Reads the quotation behind the 8 bytes of an ICMP error; null when it holds less than 8 bytes of transport. */
export function quoted(packet: Packet, at: number, len: number): Quoted | null {
  const { buf } = packet;
  const off = at + 8;
  const left = len - 8;
  if (left < 20) return null;
  if (buf[off] >>> 4 === 4) {
    const header = (buf[off] & 15) * 4;
    // Only a first fragment starts with its transport header.
    if (packet.version !== 4 || header < 20 || left < header + 8) return null;
    if ((((buf[off + 6] & 0x1f) << 8) | buf[off + 7]) !== 0) return null;
    return {
      protocol: buf[off + 9],
      at: off + header,
      src: Ip.read(4, buf, off + 12),
      dst: Ip.read(4, buf, off + 16),
    };
  }
  if (packet.version !== 6 || left < 48) return null;
  const transport = ipv6Transport(buf, off, left);
  if (transport < 0 || left < (transport & 0xffff) + 8) return null;
  return {
    protocol: transport >>> 16,
    at: off + (transport & 0xffff),
    src: Ip.read(6, buf, off + 8),
    dst: Ip.read(6, buf, off + 24),
  };
}

export function udpFault(buf: Uint8Array, quote: Quoted, code: string): UdpFault | null {
  if (quote.protocol !== IpProtocol.UDP) return null;
  return {
    code,
    local: quote.src,
    localPort: udp.srcPort(buf, quote.at),
    remote: quote.dst,
    remotePort: udp.dstPort(buf, quote.at),
  };
}
