/**
 * What the interface of a tunnel does whoever is at its other end: checks what is sent, answers what cannot be carried with
 * the ICMP errors that a router owes (RFC 1812 §4.3, RFC 4443 §3), and puts received TCP segments together.
 */

import {
  Accept,
  CHECKSUM_PARTIAL,
  type Clock,
  dropPacket,
  ErrorLimiter,
  fragment4,
  get16,
  HEADROOM,
  IcmpType,
  IcmpUnreachable,
  Icmpv6Type,
  Icmpv6Unreachable,
  IPV4_DF,
  type L3Device,
  MAX_ICMP_ERROR,
  Packet,
  type PacketHandler,
  type Prefix,
  pool,
  SEGMENT_SIZE_MASK,
  writeIcmpError,
} from '@pktkit/core';
import { Coalescer } from './coalescer.ts';

export interface TunnelStats {
  /** Packets for the other end; a super-segment counts once. */
  sent: number;
  /** Packets for the handler, before they are put together to super-segments. */
  received: number;
  /** Packets larger than the MTU that were sent in fragments. */
  fragmented: number;
  /** Larger than the MTU and not to be fragmented. */
  dropTooBig: number;
  /** No peer's allowed IPs hold the destination. */
  dropNoRoute: number;
  /** Not an IP packet. */
  dropMalformed: number;
  /** Sent or received after `close`. */
  dropClosed: number;
  /** ICMP errors given to the handler. */
  icmpErrors: number;
}

export abstract class TunnelDevice implements L3Device {
  /** All offloads: super-segments are taken apart while they are encrypted. */
  readonly accepts: number = Accept.ALL;
  readonly stats: TunnelStats = {
    sent: 0,
    received: 0,
    fragmented: 0,
    dropTooBig: 0,
    dropNoRoute: 0,
    dropMalformed: 0,
    dropClosed: 0,
    icmpErrors: 0,
  };
  readonly #clock: Clock;
  readonly #coalescer: Coalescer;
  readonly #limiter: ErrorLimiter;
  #flushing = false;
  #addrs: readonly Prefix[];
  #handler: PacketHandler = dropPacket;
  #closed = false;
  readonly #flush = () => {
    this.#flushing = false;
    this.#coalescer.flush();
  };
  readonly #sendFragment = (packet: Packet) => {
    this.forward(packet);
  };

  constructor(clock: Clock, addrs: readonly Prefix[], coalesce: number) {
    this.#clock = clock;
    this.#addrs = addrs;
    this.#limiter = new ErrorLimiter(clock);
    this.#coalescer = new Coalescer((packet) => this.#handler(packet));
    this.#coalescer.accepts = coalesce;
  }

  abstract get mtu(): number;

  /** Sends a packet on; false when nobody is there for it. */
  protected abstract forward(packet: Packet): boolean;

  get addrs(): readonly Prefix[] {
    return this.#addrs;
  }

  setAddrs(addrs: readonly Prefix[]): void {
    this.#addrs = [...addrs];
  }

  setHandler(handler: PacketHandler): void {
    this.#handler = handler;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /**
   * `Accept` bits of the device behind this one. With TSO bits, received TCP segments of a batch are put together to
   * super-segments before they are handed on.
   */
  set coalesce(accepts: number) {
    this.#coalescer.flush();
    this.#coalescer.accepts = accepts;
  }

  get coalesce(): number {
    return this.#coalescer.accepts;
  }

  send(packet: Packet): void {
    const { stats } = this;
    if (this.#closed) {
      stats.dropClosed++;
      return;
    }
    const { len } = packet;
    const version = len < 20 ? 0 : packet.buf[packet.off] >>> 4;
    if (version !== 4 && (version !== 6 || len < 40)) {
      stats.dropMalformed++;
      return;
    }
    if (len > this.mtu && (packet.offload & SEGMENT_SIZE_MASK) === 0) {
      this.#tooBig(packet);
      return;
    }
    if (this.forward(packet)) {
      stats.sent++;
      return;
    }
    stats.dropNoRoute++;
    this.#answer(
      packet,
      version === 4 ? IcmpType.UNREACHABLE : Icmpv6Type.UNREACHABLE,
      version === 4 ? IcmpUnreachable.HOST : Icmpv6Unreachable.NO_ROUTE,
      0,
    );
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#coalescer.flush();
    this.#handler = dropPacket;
  }

  /** A packet has come through the tunnel. */
  receive(packet: Packet): void {
    if (this.#closed) {
      this.stats.dropClosed++;
      return;
    }
    this.stats.received++;
    if (this.#coalescer.accepts === 0) {
      this.#handler(packet);
      return;
    }
    this.#coalescer.push(packet);
    if (this.#coalescer.isPending && !this.#flushing) {
      this.#flushing = true;
      this.#clock.endOfBatch(this.#flush);
    }
  }

  #tooBig(packet: Packet): void {
    const { stats, mtu } = this;
    const v4 = packet.buf[packet.off] >>> 4 === 4;
    const fragmentable = v4 && (get16(packet.buf, packet.off + 6) & IPV4_DF) === 0;
    // A partial checksum covers the whole message, and no fragment could finish it.
    if (fragmentable && (packet.offload & CHECKSUM_PARTIAL) === 0 && packet.len <= 65535) {
      if (fragment4(packet, mtu, this.#sendFragment) > 0) {
        stats.fragmented++;
        return;
      }
    }
    stats.dropTooBig++;
    if (fragmentable) return;
    this.#answer(
      packet,
      v4 ? IcmpType.UNREACHABLE : Icmpv6Type.PACKET_TOO_BIG,
      v4 ? IcmpUnreachable.FRAGMENTATION_NEEDED : 0,
      mtu,
    );
  }

  /** Gives the sender an ICMP error from our own address of its family, if we have one. */
  #answer(packet: Packet, type: number, code: number, rest: number): void {
    const family = packet.family;
    const own = this.#addrs.find((prefix) => prefix.family === family);
    if (own === undefined || !this.#limiter.take()) return;
    const out = pool.take(HEADROOM + MAX_ICMP_ERROR);
    const len = writeIcmpError(out, HEADROOM, packet, own.addr, type, code, rest);
    if (len > 0) {
      this.stats.icmpErrors++;
      this.#handler(new Packet(out, HEADROOM, len));
    }
    pool.give(out);
  }
}
