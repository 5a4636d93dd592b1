/** Packets that slirp makes: UDP, echo replies and ICMP errors, of either family, in fragments where the guest's MTU asks for it. */

import {
  CHECKSUM_PARTIAL,
  checksum,
  completeChecksum,
  fragment4,
  fragment6,
  HEADROOM,
  ICMP_HEADER,
  IcmpTimeExceeded,
  IcmpType,
  IcmpUnreachable,
  Icmpv6TimeExceeded,
  Icmpv6Type,
  Icmpv6Unreachable,
  IPV4_HEADER,
  IPV6_HEADER,
  type IpAddr,
  IpProtocol,
  icmp,
  MAX_ICMP_ERROR,
  Packet,
  pool,
  pseudoHeaderSum,
  put16,
  type Random32,
  TAILROOM,
  UDP_CHECKSUM,
  UDP_HEADER,
  udp,
  writeIcmpError,
  writeIpv4,
  writeIpv6,
} from '@pktkit/core';

/** Type and code of an ICMP error in both families. */
export interface ErrorKind {
  readonly v4: readonly [type: number, code: number];
  readonly v6: readonly [type: number, code: number];
}

export const ErrorKinds: Readonly<
  Record<'NETWORK' | 'HOST' | 'PORT' | 'PROHIBITED' | 'TTL' | 'PROTOCOL', ErrorKind>
> = {
  NETWORK: {
    v4: [IcmpType.UNREACHABLE, IcmpUnreachable.NETWORK],
    v6: [Icmpv6Type.UNREACHABLE, Icmpv6Unreachable.NO_ROUTE],
  },
  HOST: {
    v4: [IcmpType.UNREACHABLE, IcmpUnreachable.HOST],
    v6: [Icmpv6Type.UNREACHABLE, Icmpv6Unreachable.ADDRESS],
  },
  PORT: {
    v4: [IcmpType.UNREACHABLE, IcmpUnreachable.PORT],
    v6: [Icmpv6Type.UNREACHABLE, Icmpv6Unreachable.PORT],
  },
  PROHIBITED: {
    v4: [IcmpType.UNREACHABLE, IcmpUnreachable.PROHIBITED],
    v6: [Icmpv6Type.UNREACHABLE, Icmpv6Unreachable.PROHIBITED],
  },
  TTL: {
    v4: [IcmpType.TIME_EXCEEDED, IcmpTimeExceeded.TRANSIT],
    v6: [Icmpv6Type.TIME_EXCEEDED, Icmpv6TimeExceeded.TRANSIT],
  },
  PROTOCOL: {
    v4: [IcmpType.UNREACHABLE, IcmpUnreachable.PROTOCOL],
    v6: [Icmpv6Type.PARAMETER_PROBLEM, 1],
  },
};

/** What a failed dial or send means to the guest; null for troubles of this host that say nothing about the destination. */
export function kindOfError(code: string): ErrorKind | null {
  switch (code) {
    case 'ENETUNREACH':
    case 'ENETDOWN':
    case 'EAFNOSUPPORT':
      return ErrorKinds.NETWORK;
    case 'EHOSTUNREACH':
    case 'EHOSTDOWN':
    case 'ETIMEDOUT':
      return ErrorKinds.HOST;
    case 'ECONNREFUSED':
      return ErrorKinds.PORT;
    case 'EACCES':
    case 'EPERM':
      return ErrorKinds.PROHIBITED;
    default:
      return null;
  }
}

export class PacketMaker {
  readonly mtu: number;
  /** Called for each packet, or each fragment of one. */
  readonly #output: (packet: Packet) => void;
  readonly #random: Random32;
  readonly #countFragment: () => void;
  #nextId: number;

  constructor(
    mtu: number,
    output: (packet: Packet) => void,
    random: Random32,
    countFragment: () => void,
  ) {
    this.mtu = mtu;
    this.#output = output;
    this.#random = random;
    this.#nextId = random() & 0xffff;
    this.#countFragment = countFragment;
  }

  /** Addresses are of one family; the payload fits into a datagram. */
  udp(
    source: IpAddr,
    sourcePort: number,
    destination: IpAddr,
    destinationPort: number,
    payload: Uint8Array,
  ): void {
    const length = UDP_HEADER + payload.length;
    const header = source.family === 4 ? IPV4_HEADER : IPV6_HEADER;
    const at = HEADROOM + header;
    const buf = pool.take(at + length + TAILROOM);
    this.#writeIp(buf, HEADROOM, length, IpProtocol.UDP, source, destination);
    udp.write(buf, at, sourcePort, destinationPort, length);
    buf.set(payload, at + UDP_HEADER);
    // The sum of the pseudo-header only: whoever puts the packet on a wire finishes it, or its hardware does.
    const pseudo = pseudoHeaderSum(buf, HEADROOM, IpProtocol.UDP, length);
    put16(buf, at + UDP_CHECKSUM, pseudo);
    if (header + length <= this.mtu) {
      this.#output(new Packet(buf, HEADROOM, header + length, CHECKSUM_PARTIAL));
    } else {
      completeChecksum(buf, IpProtocol.UDP, at, length, at + UDP_CHECKSUM);
      this.#emit(new Packet(buf, HEADROOM, header + length));
    }
    pool.give(buf);
  }

  /** The reply to an echo request whose ICMP message is `len` bytes at `at` of `request`. */
  echoReply(request: Packet, at: number, len: number): void {
    const { src, dst } = request;
    const v4 = request.version === 4;
    const protocol = v4 ? IpProtocol.ICMP : IpProtocol.ICMPV6;
    const header = v4 ? IPV4_HEADER : IPV6_HEADER;
    const buf = pool.take(HEADROOM + header + len + TAILROOM);
    const message = HEADROOM + header;
    this.#writeIp(buf, HEADROOM, len, protocol, dst, src);
    buf.set(request.buf.subarray(at, at + len), message);
    icmp.write(buf, message, v4 ? IcmpType.ECHO_REPLY : Icmpv6Type.ECHO_REPLY, 0, 0);
    buf.set(request.buf.subarray(at + 4, at + ICMP_HEADER), message + 4);
    const pseudo = v4 ? 0 : pseudoHeaderSum(buf, HEADROOM, protocol, len);
    put16(buf, message + 2, checksum(buf, message, len, pseudo));
    this.#emit(new Packet(buf, HEADROOM, header + len));
    pool.give(buf);
  }

  /** An ICMP error about `packet`, from `source`; false when none may be sent about it. */
  error(packet: Packet, source: IpAddr, kind: ErrorKind): boolean {
    const [type, code] = packet.version === 4 ? kind.v4 : kind.v6;
    const buf = pool.take(HEADROOM + MAX_ICMP_ERROR + TAILROOM);
    const length = writeIcmpError(buf, HEADROOM, packet, source, type, code);
    if (length > 0) this.#output(new Packet(buf, HEADROOM, length));
    pool.give(buf);
    return length > 0;
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
    const total = IPV4_HEADER + length;
    writeIpv4(buf, off, total, protocol, source.w3, destination.w3, 64, this.#nextId, 0);
  }

  #emit(packet: Packet): void {
    if (packet.len <= this.mtu) {
      this.#output(packet);
      return;
    }
    const emit = (fragment: Packet) => {
      this.#countFragment();
      this.#output(fragment);
    };
    if (packet.version === 4) fragment4(packet, this.mtu, emit);
    else fragment6(packet, this.mtu, this.#random() | 0, emit);
  }
}
