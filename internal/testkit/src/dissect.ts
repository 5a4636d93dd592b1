/**
 * A slow, obvious reader of frames and packets for tests: its own parser and its own checksum, so that a fault in core
 * does not hide itself. Formats: IEEE 802.3 and 802.1Q, RFC 826, 791, 8200, 9293, 768, 792, 4443.
 */

import { type Frame, IpAddr, MacAddr, type Packet } from '@pktkit/core';

export interface EtherFields {
  dst: string;
  src: string;
  type: number;
  vlan: number | null;
}

export interface ArpFields {
  op: number;
  senderMac: string;
  senderIp: string;
  targetMac: string;
  targetIp: string;
}

export interface IpFields {
  version: 4 | 6;
  src: string;
  dst: string;
  /** The transport protocol, behind any extension headers. */
  proto: number;
  ttl: number;
  tos: number;
  /** Of the whole packet, by its own header. */
  length: number;
  id: number | null;
  /** The don't-fragment bit; null for IPv6. */
  df: boolean | null;
  /** In bytes; null when the packet is no fragment. */
  fragment: { offset: number; more: boolean; id: number } | null;
}

export interface TcpFields {
  srcPort: number;
  dstPort: number;
  seq: number;
  ack: number;
  /** In the order of the header: `SYN`, `SYN,ACK`, `FIN,ACK`. */
  flags: string;
  window: number;
  options: Uint8Array;
}

export interface UdpFields {
  srcPort: number;
  dstPort: number;
}

export interface IcmpFields {
  type: number;
  code: number;
  /** The four bytes behind the checksum. */
  rest: number;
}

export interface Dissection {
  ether: EtherFields | null;
  arp: ArpFields | null;
  ip: IpFields | null;
  tcp: TcpFields | null;
  udp: UdpFields | null;
  icmp: IcmpFields | null;
  icmpv6: IcmpFields | null;
  /** What the innermost known header carries. */
  payload: Uint8Array;
  /** What is wrong: truncated headers, lengths that disagree, bad checksums. */
  problems: string[];
}

const TCP_FLAGS = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG', 'ECE', 'CWR'] as const;

export interface DissectOptions {
  /** Check transport checksums; true unless told. Windows with a partial or trusted checksum are never checked. */
  checksums?: boolean | undefined;
}

export function dissectFrame(frame: Frame, options: DissectOptions = {}): Dissection {
  const bytes = frame.bytes;
  const out = blank();
  if (bytes.length < 14) {
    out.problems.push(`a frame of ${bytes.length} bytes`);
    return out;
  }
  const view = viewOf(bytes);
  let at = 12;
  let vlan: number | null = null;
  while (
    (view.getUint16(at) === 0x8100 || view.getUint16(at) === 0x88a8) &&
    at + 6 <= bytes.length
  ) {
    vlan ??= view.getUint16(at + 2) & 0xfff;
    at += 4;
  }
  const type = view.getUint16(at);
  out.ether = { dst: mac(bytes, 0), src: mac(bytes, 6), type, vlan };
  const rest = bytes.subarray(at + 2);
  const check = frame.offload === 0 && options.checksums !== false;
  if (type === 0x0806) dissectArp(rest, out);
  else if (type === 0x0800 || type === 0x86dd) dissectIp(rest, out, check);
  else out.payload = rest;
  return out;
}

export function dissectPacket(packet: Packet, options: DissectOptions = {}): Dissection {
  const out = blank();
  dissectIp(packet.bytes, out, packet.offload === 0 && options.checksums !== false);
  return out;
}

/** The Internet checksum (RFC 1071) the slow way; 0 over bytes that contain a right one. */
export function slowChecksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += bytes[i] * 256 + (i + 1 < bytes.length ? bytes[i + 1] : 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return ~sum & 0xffff;
}

function blank(): Dissection {
  return {
    ether: null,
    arp: null,
    ip: null,
    tcp: null,
    udp: null,
    icmp: null,
    icmpv6: null,
    payload: new Uint8Array(0),
    problems: [],
  };
}

function dissectArp(bytes: Uint8Array, out: Dissection): void {
  if (bytes.length < 28) {
    out.problems.push('truncated ARP');
    return;
  }
  const view = viewOf(bytes);
  if (view.getUint16(0) !== 1 || view.getUint16(2) !== 0x0800 || view.getUint16(4) !== 0x0604) {
    out.problems.push('ARP is not for IPv4 over Ethernet');
    return;
  }
  out.arp = {
    op: view.getUint16(6),
    senderMac: mac(bytes, 8),
    senderIp: ip4(bytes, 14),
    targetMac: mac(bytes, 18),
    targetIp: ip4(bytes, 24),
  };
}

function dissectIp(bytes: Uint8Array, out: Dissection, check: boolean): void {
  const version = bytes.length > 0 ? bytes[0] >>> 4 : 0;
  if (version === 4) dissectIpv4(bytes, out, check);
  else if (version === 6) dissectIpv6(bytes, out, check);
  else out.problems.push(`IP version ${version}`);
}

function dissectIpv4(bytes: Uint8Array, out: Dissection, check: boolean): void {
  const header = (bytes[0] & 15) * 4;
  if (bytes.length < 20 || header < 20 || header > bytes.length) {
    out.problems.push('truncated IPv4 header');
    return;
  }
  const view = viewOf(bytes);
  const length = view.getUint16(2);
  if (length < header || length > bytes.length) {
    out.problems.push(`IPv4 total length ${length} with ${bytes.length} bytes there`);
    return;
  }
  if (slowChecksum(bytes.subarray(0, header)) !== 0) out.problems.push('bad IPv4 header checksum');
  const flags = view.getUint16(6);
  const offset = (flags & 0x1fff) * 8;
  const more = (flags & 0x2000) !== 0;
  const id = view.getUint16(4);
  const fragment = offset > 0 || more ? { offset, more, id } : null;
  out.ip = {
    version: 4,
    src: ip4(bytes, 12),
    dst: ip4(bytes, 16),
    proto: bytes[9],
    ttl: bytes[8],
    tos: bytes[1],
    length,
    id,
    df: (flags & 0x4000) !== 0,
    fragment,
  };
  const pseudo = new Uint8Array(12);
  pseudo.set(bytes.subarray(12, 20));
  pseudo[9] = bytes[9];
  viewOf(pseudo).setUint16(10, length - header);
  dissectTransport(bytes.subarray(header, length), pseudo, out, check);
}

function dissectIpv6(bytes: Uint8Array, out: Dissection, check: boolean): void {
  if (bytes.length < 40) {
    out.problems.push('truncated IPv6 header');
    return;
  }
  const view = viewOf(bytes);
  const length = 40 + view.getUint16(4);
  if (length > bytes.length) {
    out.problems.push(`IPv6 length ${length} with ${bytes.length} bytes there`);
    return;
  }
  let proto = bytes[6];
  let at = 40;
  let fragment: IpFields['fragment'] = null;
  // Hop-by-hop, routing, destination options and the fragment header (RFC 8200 §4).
  while (proto === 0 || proto === 43 || proto === 60 || proto === 44) {
    if (at + 8 > length) {
      out.problems.push('truncated IPv6 extension header');
      return;
    }
    if (proto === 44) {
      const field = view.getUint16(at + 2);
      fragment = { offset: field & 0xfff8, more: (field & 1) === 1, id: view.getUint32(at + 4) };
    }
    const step = proto === 44 ? 8 : (bytes[at + 1] + 1) * 8;
    proto = bytes[at];
    at += step;
  }
  if (at > length) {
    out.problems.push('truncated IPv6 extension header');
    return;
  }
  out.ip = {
    version: 6,
    src: ip6(bytes, 8),
    dst: ip6(bytes, 24),
    proto,
    ttl: bytes[7],
    tos: ((bytes[0] & 15) << 4) | (bytes[1] >>> 4),
    length,
    id: null,
    df: null,
    fragment,
  };
  const pseudo = new Uint8Array(40);
  pseudo.set(bytes.subarray(8, 40));
  viewOf(pseudo).setUint32(32, length - at);
  pseudo[39] = proto;
  dissectTransport(bytes.subarray(at, length), pseudo, out, check);
}

function dissectTransport(
  bytes: Uint8Array,
  pseudo: Uint8Array,
  out: Dissection,
  check: boolean,
): void {
  const ip = out.ip!;
  out.payload = bytes;
  // Only a whole datagram has a transport header to read and a checksum to verify.
  if (ip.fragment !== null && (ip.fragment.offset > 0 || ip.fragment.more)) return;
  const view = viewOf(bytes);
  const sum = (name: string, withPseudo: boolean) => {
    if (!check) return;
    const all = withPseudo ? join(pseudo, bytes) : bytes;
    if (slowChecksum(all) !== 0) out.problems.push(`bad ${name} checksum`);
  };
  switch (ip.proto) {
    case 6: {
      const header = bytes.length >= 20 ? (bytes[12] >>> 4) * 4 : 0;
      if (header < 20 || header > bytes.length) {
        out.problems.push('truncated TCP header');
        return;
      }
      sum('TCP', true);
      out.tcp = {
        srcPort: view.getUint16(0),
        dstPort: view.getUint16(2),
        seq: view.getUint32(4),
        ack: view.getUint32(8),
        flags: TCP_FLAGS.filter((_, bit) => (bytes[13] >>> bit) & 1).join(','),
        window: view.getUint16(14),
        options: bytes.subarray(20, header),
      };
      out.payload = bytes.subarray(header);
      return;
    }
    case 17: {
      if (bytes.length < 8) {
        out.problems.push('truncated UDP header');
        return;
      }
      const length = view.getUint16(4);
      if (length < 8 || length > bytes.length) out.problems.push(`UDP length ${length}`);
      // Zero means "not computed", which IPv6 forbids (RFC 8200 §8.1).
      if (view.getUint16(6) !== 0) sum('UDP', true);
      else if (ip.version === 6 && check) out.problems.push('UDP over IPv6 without a checksum');
      out.udp = { srcPort: view.getUint16(0), dstPort: view.getUint16(2) };
      out.payload = bytes.subarray(8, Math.max(8, length));
      return;
    }
    case 1:
    case 58: {
      const v6 = ip.proto === 58;
      if (bytes.length < 8) {
        out.problems.push('truncated ICMP header');
        return;
      }
      sum(v6 ? 'ICMPv6' : 'ICMP', v6);
      const fields = { type: bytes[0], code: bytes[1], rest: view.getUint32(4) };
      if (v6) out.icmpv6 = fields;
      else out.icmp = fields;
      out.payload = bytes.subarray(8);
      return;
    }
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function join(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}

function mac(bytes: Uint8Array, at: number): string {
  return MacAddr.read(bytes, at).toString();
}

function ip4(bytes: Uint8Array, at: number): string {
  return IpAddr.read(4, bytes, at).toString();
}

function ip6(bytes: Uint8Array, at: number): string {
  return IpAddr.read(6, bytes, at).toString();
}
