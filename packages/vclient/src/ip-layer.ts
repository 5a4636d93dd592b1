/**
 * The IP layer of a virtual host: what arrives is validated, put together and handed to its protocol; what leaves gets its
 * header, and fragments where it is larger than the link.
 */

import {
  CHECKSUM_PARTIAL,
  CHECKSUM_TRUSTED,
  type Clock,
  checksum,
  copyAndSum,
  ErrorLimiter,
  fragment4,
  fragment6,
  HEADROOM,
  ICMP_HEADER,
  IcmpType,
  IcmpUnreachable,
  Icmpv6Type,
  Icmpv6Unreachable,
  IPV4_HEADER,
  IPV6_HEADER,
  type IpAddr,
  IpProtocol,
  icmp,
  ipLength,
  ipv4ChecksumOk,
  MAX_ICMP_ERROR,
  Packet,
  type Prefix,
  pool,
  pseudoHeaderSum,
  put16,
  type Random32,
  Reassembler,
  sum,
  TAILROOM,
  UDP_HEADER,
  udp,
  verifyTransport,
  writeIcmpError,
  writeIpv4,
  writeIpv6,
} from '@pktkit/core';
import type { VClientStats } from './stats.ts';

/** Largest payloads: the 16-bit length fields of IP and UDP (RFC 768, RFC 8200 §3 without jumbograms). */
export const MAX_UDP4: number = 65535 - IPV4_HEADER - UDP_HEADER;
export const MAX_UDP6: number = 65535 - UDP_HEADER;

/** Takes whole, validated packets for this host; `at` is where the transport header starts in the buffer. */
export interface IpHandlers {
  tcp(packet: Packet): void;
  udp(packet: Packet, at: number, len: number): void;
  icmp(packet: Packet, at: number, len: number): void;
}

export interface IpLayerOptions {
  mtu: number;
  stats: VClientStats;
  handlers: IpHandlers;
  random: Random32;
  clock: Clock;
}

export class IpLayer {
  readonly mtu: number;
  addrs: readonly Prefix[] = [];
  readonly reassembler: Reassembler;
  /** The link: takes each packet that leaves this host. */
  output: (packet: Packet) => void = () => {};
  readonly #stats: VClientStats;
  readonly #handlers: IpHandlers;
  /** IPv4 identification: needs to differ among fragments in flight, nothing else (RFC 6864). */
  #nextId: number;
  readonly #random: Random32;
  readonly #errors: ErrorLimiter;

  constructor(options: IpLayerOptions) {
    this.mtu = options.mtu;
    this.#stats = options.stats;
    this.#handlers = options.handlers;
    this.#random = options.random;
    this.reassembler = new Reassembler({ clock: options.clock, random: options.random });
    this.#nextId = options.random() & 0xffff;
    this.#errors = new ErrorLimiter(options.clock);
  }

  /** A packet from the link. */
  input(received: Packet): void {
    const stats = this.#stats;
    stats.packetsIn++;
    const { buf, off, offload } = received;
    const length = ipLength(buf, off, received.len);
    if (length < 0) {
      stats.dropMalformed++;
      return;
    }
    // Links pad: Ethernet to 60 bytes, WireGuard to 16.
    const packet = length === received.len ? received : new Packet(buf, off, length, offload);
    const trusted = (offload & (CHECKSUM_PARTIAL | CHECKSUM_TRUSTED)) !== 0;
    if (buf[off] >>> 4 === 4 && !trusted && !ipv4ChecksumOk(buf, off)) {
      stats.dropChecksum++;
      return;
    }
    if (!isPossibleSource(buf, off) || this.#hasSource(packet)) {
      stats.dropMartian++;
      return;
    }
    if (!this.#hasDestination(packet) && !this.#isGroup(packet)) {
      stats.dropNotOurs++;
      return;
    }
    if (packet.isFragment) {
      stats.fragmentsIn++;
      const whole = this.reassembler.add(packet);
      if (whole === null) return;
      stats.reassembled++;
      this.#dispatch(whole, false);
      return;
    }
    this.#dispatch(packet, trusted);
  }

  /** Sends a packet that is complete but for offload; what is for this host itself comes back as received. */
  transmit(packet: Packet): void {
    const stats = this.#stats;
    stats.packetsOut++;
    if (this.#hasDestination(packet) || isLoopback(packet)) {
      stats.packetsIn++;
      this.#dispatch(packet, true);
      return;
    }
    this.output(packet);
  }

  sendUdp(
    source: IpAddr,
    sourcePort: number,
    destination: IpAddr,
    destinationPort: number,
    data: Uint8Array,
  ): void {
    const length = UDP_HEADER + data.length;
    const header = source.family === 4 ? IPV4_HEADER : IPV6_HEADER;
    const at = HEADROOM + header;
    const buf = pool.take(at + length + TAILROOM);
    this.#writeIp(buf, HEADROOM, length, IpProtocol.UDP, source, destination);
    udp.write(buf, at, sourcePort, destinationPort, length);
    const head = sum(buf, at, UDP_HEADER, pseudoHeaderSum(buf, HEADROOM, IpProtocol.UDP, length));
    const total = copyAndSum(buf, at + UDP_HEADER, data, 0, data.length, head);
    // RFC 768: a sum of zero goes as all ones, since zero says "none".
    put16(buf, at + 6, ~total & 0xffff || 0xffff);
    this.#send(new Packet(buf, HEADROOM, header + length));
    pool.give(buf);
  }

  /** An echo message of either family. */
  sendEcho(
    source: IpAddr,
    destination: IpAddr,
    type: number,
    idAndSequence: number,
    data: Uint8Array,
    dataOff: number,
    dataLen: number,
  ): void {
    const v4 = source.family === 4;
    const protocol = v4 ? IpProtocol.ICMP : IpProtocol.ICMPV6;
    const length = ICMP_HEADER + dataLen;
    const header = v4 ? IPV4_HEADER : IPV6_HEADER;
    const at = HEADROOM + header;
    const buf = pool.take(at + length + TAILROOM);
    this.#writeIp(buf, HEADROOM, length, protocol, source, destination);
    icmp.write(buf, at, type, 0, idAndSequence);
    buf.set(data.subarray(dataOff, dataOff + dataLen), at + ICMP_HEADER);
    const pseudo = v4 ? 0 : pseudoHeaderSum(buf, HEADROOM, protocol, length);
    put16(buf, at + 2, checksum(buf, at, length, pseudo));
    this.#send(new Packet(buf, HEADROOM, header + length));
    pool.give(buf);
  }

  /** Answers a packet to this host that no UDP socket has asked for (RFC 1122 §3.2.2.1). */
  portUnreachable(packet: Packet): void {
    const stats = this.#stats;
    if (this.#isGroup(packet)) return;
    if (!this.#errors.take()) {
      stats.dropIcmpLimit++;
      return;
    }
    const v4 = packet.version === 4;
    const buf = pool.take(HEADROOM + MAX_ICMP_ERROR + TAILROOM);
    const length = writeIcmpError(
      buf,
      HEADROOM,
      packet,
      packet.dst,
      v4 ? IcmpType.UNREACHABLE : Icmpv6Type.UNREACHABLE,
      v4 ? IcmpUnreachable.PORT : Icmpv6Unreachable.PORT,
    );
    if (length > 0) {
      stats.icmpErrorsOut++;
      this.transmit(new Packet(buf, HEADROOM, length));
    }
    pool.give(buf);
  }

  /** `transmit` for complete packets, in fragments where the link is too small. */
  #send(packet: Packet): void {
    if (packet.len <= this.mtu || this.#hasDestination(packet) || isLoopback(packet)) {
      this.transmit(packet);
      return;
    }
    const emit = (fragment: Packet) => {
      this.#stats.fragmentsOut++;
      this.#stats.packetsOut++;
      this.output(fragment);
    };
    if (packet.version === 4) fragment4(packet, this.mtu, emit);
    else fragment6(packet, this.mtu, this.#random() | 0, emit);
  }

  #writeIp(
    buf: Uint8Array,
    off: number,
    length: number,
    protocol: IpProtocol,
    source: IpAddr,
    destination: IpAddr,
  ): void {
    if (source.family === 6) {
      writeIpv6(buf, off, length, protocol, source, destination);
      return;
    }
    this.#nextId = (this.#nextId + 1) & 0xffff;
    // No "don't fragment": the sender would have to remember every path's MTU for datagrams.
    writeIpv4(
      buf,
      off,
      IPV4_HEADER + length,
      protocol,
      source.w3,
      destination.w3,
      64,
      this.#nextId,
      0,
    );
  }

  #dispatch(packet: Packet, trusted: boolean): void {
    const stats = this.#stats;
    const { buf, off } = packet;
    const { transport } = packet;
    if (transport < 0) {
      stats.dropMalformed++;
      return;
    }
    const protocol = transport >>> 16;
    const at = off + (transport & 0xffff);
    const len = off + packet.len - at;
    switch (protocol) {
      case IpProtocol.TCP:
        this.#handlers.tcp(packet);
        return;
      case IpProtocol.UDP: {
        if (!udp.isValid(buf, at, len)) {
          stats.dropMalformed++;
          return;
        }
        const claimed = udp.length(buf, at);
        if (!trusted && !verifyTransport(buf, off, protocol, at, claimed)) {
          stats.dropChecksum++;
          return;
        }
        this.#handlers.udp(packet, at, claimed);
        return;
      }
      case IpProtocol.ICMP:
      case IpProtocol.ICMPV6: {
        const v4 = packet.version === 4;
        if (len < ICMP_HEADER || (protocol === IpProtocol.ICMP) !== v4) {
          stats.dropMalformed++;
          return;
        }
        const ok = v4 ? sum(buf, at, len) === 0xffff : verifyTransport(buf, off, protocol, at, len);
        if (!trusted && !ok) {
          stats.dropChecksum++;
          return;
        }
        this.#handlers.icmp(packet, at, len);
        return;
      }
      default:
        stats.dropProtocol++;
    }
  }

  #hasDestination(packet: Packet): boolean {
    const { buf, off } = packet;
    const family = packet.family;
    const at = off + (family === 4 ? 16 : 24);
    for (const { addr } of this.addrs) {
      if (addr.family === family && addr.matches(buf, at)) return true;
    }
    return false;
  }

  #hasSource(packet: Packet): boolean {
    const { buf, off } = packet;
    const family = packet.family;
    const at = off + (family === 4 ? 12 : 8);
    for (const { addr } of this.addrs) {
      if (addr.family === family && addr.matches(buf, at)) return true;
    }
    return false;
  }

  /** Multicast, or a broadcast that this host hears. */
  #isGroup(packet: Packet): boolean {
    if (packet.isMulticast) return true;
    if (packet.version === 6) return false;
    const destination = packet.dst4;
    if (destination === -1) return true;
    for (const prefix of this.addrs) if (prefix.broadcast?.w3 === destination) return true;
    return false;
  }
}

/** RFC 1122 §3.2.1.3, RFC 4291 §2.5.3, §2.7: never the source of a packet from a link. */
function isPossibleSource(buf: Uint8Array, off: number): boolean {
  if (buf[off] >>> 4 === 4) {
    const first = buf[off + 12];
    return first !== 0 && first !== 127 && first < 224;
  }
  if (buf[off + 8] === 0xff) return false;
  for (let i = 8; i < 23; i++) if (buf[off + i] !== 0) return true;
  return buf[off + 23] > 1;
}

function isLoopback(packet: Packet): boolean {
  const { buf, off } = packet;
  if (packet.version === 4) return buf[off + 16] === 127;
  for (let i = 24; i < 39; i++) if (buf[off + i] !== 0) return false;
  return buf[off + 39] === 1;
}
