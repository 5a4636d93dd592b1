/**
 * One network of guests behind slirp: their packets are validated here and handed to TCP, UDP and ICMP, each with tables of
 * this namespace alone, so that guests of different namespaces may have the same addresses.
 */

import {
  CHECKSUM_PARTIAL,
  CHECKSUM_TRUSTED,
  dropPacket,
  ErrorLimiter,
  ICMP_HEADER,
  IcmpType,
  Icmpv6Type,
  type IpAddr,
  IpProtocol,
  icmp,
  ipLength,
  ipv4ChecksumOk,
  Packet,
  type PacketHandler,
  Reassembler,
  type ReassemblerStats,
  sum,
  TcpFlag,
  tcp,
  UDP_HEADER,
  udp,
  verifyTransport,
} from '@pktkit/core';
import type { Context } from './context.ts';
import { DnsForwarder } from './dns-forwarder.ts';
import { type ErrorKind, ErrorKinds, PacketMaker } from './packets.ts';
import { Reach } from './policy.ts';
import { TcpSide } from './tcp-side.ts';
import { type ForwardPorts, forwardKey } from './udp-forward.ts';
import { UdpSide } from './udp-side.ts';

const DNS_PORT = 53;

export class Namespace {
  readonly tcp: TcpSide;
  readonly udp: UdpSide;
  readonly maker: PacketMaker;
  readonly forwardPorts: ForwardPorts = new Map();
  /** Takes the packets for the guests. */
  handler: PacketHandler = dropPacket;
  readonly #context: Context;
  readonly #dns: DnsForwarder;
  readonly #errors: ErrorLimiter;
  readonly #reassembler: Reassembler;
  readonly #onClose: Array<() => void> = [];
  #closed = false;

  constructor(context: Context, mtu: number) {
    this.#context = context;
    const { stats } = context;
    const output = (packet: Packet): void => this.output(packet);
    this.maker = new PacketMaker(mtu, output, context.random, () => {
      stats.fragmentsOut++;
    });
    this.tcp = new TcpSide(context, this, mtu);
    this.udp = new UdpSide(context, this);
    this.#dns = new DnsForwarder(context, (asker, message) => {
      this.maker.udp(asker.gateway, DNS_PORT, asker.guest, asker.guestPort, message);
    });
    this.#reassembler = new Reassembler({ clock: context.clock, random: context.random });
    this.#errors = new ErrorLimiter(context.clock, context.limits.icmpErrors);
  }

  /** A packet of a guest. */
  input(received: Packet): void {
    const { stats } = this.#context;
    if (this.#closed) {
      stats.dropClosed++;
      return;
    }
    stats.packetsIn++;
    const { buf, off, offload } = received;
    const length = ipLength(buf, off, received.len);
    if (length < 0) {
      stats.dropMalformed++;
      return;
    }
    const packet = length === received.len ? received : new Packet(buf, off, length, offload);
    const trusted = (offload & (CHECKSUM_PARTIAL | CHECKSUM_TRUSTED)) !== 0;
    if (buf[off] >>> 4 === 4 && !trusted && !ipv4ChecksumOk(buf, off)) {
      stats.dropChecksum++;
      return;
    }
    // Slirp is the hop between its guests and the world (RFC 1812 §5.3.1); for its own addresses it is the end.
    if (packet.ttl <= 1 && !this.#isForGateway(packet)) {
      stats.dropTtl++;
      this.refuse(packet, ErrorKinds.TTL);
      return;
    }
    if (packet.isFragment) {
      this.#onFragment(packet);
      return;
    }
    this.#dispatch(packet, trusted);
  }

  output(packet: Packet): void {
    if (this.#closed) return;
    this.#context.stats.packetsOut++;
    this.handler(packet);
  }

  /** Answers a guest's packet with an ICMP error, as far as that is allowed. */
  refuse(packet: Packet, kind: ErrorKind): void {
    const { stats } = this.#context;
    const source = this.gatewayFor(packet);
    if (source === null) return;
    if (!this.#errors.take()) {
      stats.dropIcmpLimit++;
      return;
    }
    if (this.maker.error(packet, source, kind)) stats.icmpErrors++;
  }

  /** Runs `undo` when the namespace goes. */
  onClose(undo: () => void): void {
    this.#onClose.push(undo);
  }

  /** Resets its flows (the guests are told) and frees its sockets at once. */
  close(): void {
    if (this.#closed) return;
    for (const undo of this.#onClose.splice(0)) undo();
    const { clock } = this.#context;
    clock.beginBatch();
    this.tcp.close();
    clock.endBatch();
    this.udp.close();
    this.#dns.close();
    this.#reassembler.clear();
    this.#closed = true;
    this.handler = dropPacket;
  }

  /** slirp's own address that a guest of this family knows as its gateway. */
  gatewayFor(packet: Packet): IpAddr | null {
    const { family } = packet;
    for (const { addr } of this.#context.addrs) {
      // An answer comes from the address that was asked, where that is ours.
      if (addr.family === family && addr.matches(packet.buf, destinationOff(packet))) return addr;
    }
    for (const { addr } of this.#context.addrs) if (addr.family === family) return addr;
    return null;
  }

  /** Fragments are never looked into: the whole datagram is, once it is there. */
  #onFragment(packet: Packet): void {
    const { stats } = this.#context;
    stats.fragmentsIn++;
    const before = lost(this.#reassembler.stats);
    const whole = this.#reassembler.add(packet);
    stats.dropFragment += lost(this.#reassembler.stats) - before;
    if (whole === null) return;
    stats.reassembled++;
    this.#dispatch(whole, false);
  }

  #dispatch(packet: Packet, trusted: boolean): void {
    const { stats } = this.#context;
    const { buf, off, transport } = packet;
    if (transport < 0) {
      stats.dropMalformed++;
      return;
    }
    const protocol = transport >>> 16;
    const at = off + (transport & 0xffff);
    const len = off + packet.len - at;
    switch (protocol) {
      case IpProtocol.TCP: {
        if (!tcp.isValid(buf, at, len)) {
          stats.dropMalformed++;
          return;
        }
        const isSyn = (tcp.flags(buf, at) & (TcpFlag.SYN | TcpFlag.ACK)) === TcpFlag.SYN;
        const ports = tcp.srcPort(buf, at) * 65536 + tcp.dstPort(buf, at);
        this.tcp.handlePacket(packet, isSyn, ports);
        return;
      }
      case IpProtocol.UDP: {
        const claimed = udp.isValid(buf, at, len) ? udp.length(buf, at) : -1;
        if (claimed < 0) {
          stats.dropMalformed++;
        } else if (!trusted && !verifyTransport(buf, off, protocol, at, claimed)) {
          stats.dropChecksum++;
        } else {
          this.#onUdp(packet, at, claimed);
        }
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
        if (trusted || ok) this.#onIcmp(packet, at, len);
        else stats.dropChecksum++;
        return;
      }
      default:
        stats.dropProtocol++;
        if (this.#isForGateway(packet)) this.refuse(packet, ErrorKinds.PROTOCOL);
        else if (!packet.isMulticast) this.refuse(packet, ErrorKinds.PROHIBITED);
    }
  }

  #onUdp(packet: Packet, at: number, len: number): void {
    const { servesDns } = this.#context;
    const { buf } = packet;
    const port = udp.dstPort(buf, at);
    if ((servesDns && port === DNS_PORT) || this.forwardPorts.size > 0) {
      if (this.#isForGateway(packet) && this.#onGatewayUdp(packet, at, len, port)) return;
    }
    this.udp.handle(packet, at, len);
  }

  /** DNS, and answers to what a port forward has brought in. False when it is neither. */
  #onGatewayUdp(packet: Packet, at: number, len: number, port: number): boolean {
    const { buf, src } = packet;
    const guestPort = udp.srcPort(buf, at);
    const payload = buf.subarray(at + UDP_HEADER, at + len);
    const peer = this.forwardPorts.get(forwardKey(port, src, guestPort));
    if (peer !== undefined) {
      peer.forward.answer(peer, payload);
      return true;
    }
    if (!this.#context.servesDns || port !== DNS_PORT) return false;
    this.#dns.ask({ guest: src, guestPort, gateway: packet.dst }, payload);
    return true;
  }

  #onIcmp(packet: Packet, at: number, len: number): void {
    const { stats, policy, addrs } = this.#context;
    const v4 = packet.version === 4;
    const type = icmp.type(packet.buf, at);
    if (type === (v4 ? IcmpType.ECHO_REQUEST : Icmpv6Type.ECHO_REQUEST)) {
      switch (policy.reach(packet.dst, addrs)) {
        case Reach.GATEWAY:
          stats.echoReplies++;
          this.maker.echoReply(packet, at, len);
          return;
        case Reach.OUTSIDE:
          stats.dropEcho++;
          this.refuse(packet, ErrorKinds.PROHIBITED);
          return;
        case Reach.INSIDE:
          this.refuse(packet, ErrorKinds.HOST);
          return;
        default:
          stats.dropMartian++;
          return;
      }
    }
    if (!this.tcp.stack.handleIcmp(packet)) stats.dropIcmp++;
  }

  #isForGateway(packet: Packet): boolean {
    const { family } = packet;
    for (const { addr } of this.#context.addrs) {
      if (addr.family === family && addr.matches(packet.buf, destinationOff(packet))) return true;
    }
    return false;
  }
}

/** Fragments that were not put together, so far. */
function lost(stats: ReassemblerStats): number {
  return stats.dropOverlap + stats.dropMalformed + stats.dropTooMany + stats.evicted;
}

function destinationOff(packet: Packet): number {
  return packet.off + (packet.version === 4 ? 16 : 24);
}
