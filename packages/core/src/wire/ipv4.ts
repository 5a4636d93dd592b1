/**
 * IPv4 header (RFC 791 §3.1).
 *
 *      0       4       8               16    19                     31
 *     +-------+-------+---------------+-----+------------------------+
 *     |version|  IHL  |  DSCP     ECN |         total length         |   0
 *     +-------+-------+---------------+-----+------------------------+
 *     |        identification         |0 D M|    fragment offset     |   4
 *     +---------------+---------------+-----+------------------------+
 *     |      TTL      |   protocol    |       header checksum        |   8
 *     +---------------+---------------+------------------------------+
 *     |                        source address                        |  12
 *     +--------------------------------------------------------------+
 *     |                      destination address                     |  16
 *     +--------------------------------------------------------------+
 */

import { get16, getInt32, put16, put32 } from '../bytes.ts';
import { sum } from '../checksum.ts';
import { IpAddr } from '../ip.ts';
import type { Packet } from '../packet.ts';

/** Protocol and next-header numbers of the IANA registry. */
export const IpProtocol = {
  HOP_BY_HOP: 0,
  ICMP: 1,
  IGMP: 2,
  TCP: 6,
  UDP: 17,
  IPV6_ROUTE: 43,
  IPV6_FRAGMENT: 44,
  GRE: 47,
  ESP: 50,
  AH: 51,
  ICMPV6: 58,
  IPV6_NO_NEXT: 59,
  IPV6_OPTIONS: 60,
  SCTP: 132,
} as const;
export type IpProtocol = number;

export const IPV4_HEADER = 20;
/** Flags of the 16-bit word at offset 6. */
export const IPV4_DF = 0x4000;
export const IPV4_MF = 0x2000;
export const IPV4_OFFSET_MASK = 0x1fff;

export const IPV4_TOTAL_LENGTH = 2;
export const IPV4_ID = 4;
export const IPV4_FRAGMENT = 6;
export const IPV4_TTL = 8;
export const IPV4_PROTOCOL = 9;
export const IPV4_CHECKSUM = 10;
export const IPV4_SRC = 12;
export const IPV4_DST = 16;

/**
 * Writes a header of 20 bytes with its checksum. `length` is the total, addresses are 32-bit integers; not to be
 * fragmented (DF) unless `fragment` says otherwise.
 */
export function writeIpv4(
  buf: Uint8Array,
  off: number,
  length: number,
  protocol: IpProtocol,
  src: number,
  dst: number,
  ttl = 64,
  id = 0,
  fragment: number = IPV4_DF,
  trafficClass = 0,
): void {
  buf[off] = 0x45;
  buf[off + 1] = trafficClass;
  put16(buf, off + IPV4_TOTAL_LENGTH, length);
  put16(buf, off + IPV4_ID, id);
  put16(buf, off + IPV4_FRAGMENT, fragment);
  buf[off + IPV4_TTL] = ttl;
  buf[off + IPV4_PROTOCOL] = protocol;
  put32(buf, off + IPV4_SRC, src);
  put32(buf, off + IPV4_DST, dst);
  // From the values at hand: reading the bytes back costs twice as much.
  let total = 0x4500 + trafficClass + length + id + fragment + (ttl << 8) + protocol;
  total += (src >>> 16) + (src & 0xffff) + (dst >>> 16) + (dst & 0xffff);
  total = (total & 0xffff) + (total >>> 16);
  put16(buf, off + IPV4_CHECKSUM, ~(total + (total >>> 16)));
}

/** Whether the header's checksum is right. */
export function ipv4ChecksumOk(buf: Uint8Array, off: number): boolean {
  return sum(buf, off, (buf[off] & 15) * 4) === 0xffff;
}

/** A header as a plain object, for control-plane code, tests and printing. */
export interface Ipv4Header {
  src: IpAddr;
  dst: IpAddr;
  protocol: IpProtocol;
  ttl: number;
  id: number;
  /** DSCP and ECN. */
  trafficClass: number;
  dontFragment: boolean;
  moreFragments: boolean;
  /** In bytes. */
  fragmentOffset: number;
  /** Without the header. */
  payloadLen: number;
  options: Uint8Array;
}

/** Reads a valid packet's header; null for one that is not IPv4. */
export function parse(packet: Packet): Ipv4Header | null {
  const { buf, off } = packet;
  if (packet.version !== 4) return null;
  const fragment = get16(buf, off + IPV4_FRAGMENT);
  return {
    src: IpAddr.v4(getInt32(buf, off + IPV4_SRC)),
    dst: IpAddr.v4(getInt32(buf, off + IPV4_DST)),
    protocol: buf[off + IPV4_PROTOCOL],
    ttl: buf[off + IPV4_TTL],
    id: get16(buf, off + IPV4_ID),
    trafficClass: buf[off + 1],
    dontFragment: (fragment & IPV4_DF) !== 0,
    moreFragments: (fragment & IPV4_MF) !== 0,
    fragmentOffset: (fragment & IPV4_OFFSET_MASK) * 8,
    payloadLen: packet.payloadLen,
    options: buf.slice(off + IPV4_HEADER, packet.payloadOff),
  };
}

/** What `write` cannot guess. */
export type Ipv4Fields = Pick<Ipv4Header, 'src' | 'dst' | 'protocol' | 'payloadLen'> &
  Partial<Ipv4Header>;

/** Writes a header with its checksum and gives its length; the payload follows it. */
export function write(buf: Uint8Array, off: number, fields: Ipv4Fields): number {
  const options = fields.options ?? new Uint8Array(0);
  const header = IPV4_HEADER + options.length;
  const fragmentOffset = fields.fragmentOffset ?? 0;
  if (options.length > 40 || options.length % 4 !== 0) {
    throw new RangeError(`IPv4 options are 0 to 40 bytes in fours, got ${options.length}`);
  }
  if (fragmentOffset % 8 !== 0) {
    throw new RangeError(`a fragment offset is a multiple of 8, got ${fragmentOffset}`);
  }
  const more = fields.moreFragments ?? false;
  const dont = fields.dontFragment ?? (!more && fragmentOffset === 0);
  writeIpv4(
    buf,
    off,
    header + fields.payloadLen,
    fields.protocol,
    fields.src.w3,
    fields.dst.w3,
    fields.ttl ?? 64,
    fields.id ?? 0,
    (dont ? IPV4_DF : 0) | (more ? IPV4_MF : 0) | (fragmentOffset / 8),
    fields.trafficClass ?? 0,
  );
  if (options.length > 0) {
    buf[off] = 0x40 | (header / 4);
    buf.set(options, off + IPV4_HEADER);
    put16(buf, off + IPV4_CHECKSUM, 0);
    put16(buf, off + IPV4_CHECKSUM, ~sum(buf, off, header));
  }
  return header;
}
