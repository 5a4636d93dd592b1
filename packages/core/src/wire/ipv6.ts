/**
 * IPv6 header and its chain of extension headers (RFC 8200 §3, §4).
 *
 *      0       4               12      16              24           31
 *     +-------+---------------+-------------------------------------+
 *     |version| traffic class |             flow label              |   0
 *     +-------+---------------+-------+---------------+-------------+
 *     |        payload length         |  next header  |  hop limit  |   4
 *     +-------------------------------+---------------+-------------+
 *     |                    source address (16 bytes)                |   8
 *     +-------------------------------------------------------------+
 *     |                 destination address (16 bytes)              |  24
 *     +-------------------------------------------------------------+
 */

import { get16, get32, put16, put32 } from '../bytes.ts';
import { IpAddr } from '../ip.ts';
import type { Packet } from '../packet.ts';
import { IpProtocol } from './ipv4.ts';

export const IPV6_HEADER = 40;
export const IPV6_FRAGMENT_HEADER = 8;

/** More extension headers than any sender has reason to use; past that the packet is malformed (bounded work). */
const MAX_EXTENSIONS = 8;

/**
 * Walks the extension headers of a packet whose length has been checked.
 *
 * Gives `protocol * 0x10000 + offset of its header within the packet`, or -1 when the chain leaves the packet or is too
 * long. A fragment header ends the walk with protocol 44 when the packet is a real fragment; an atomic fragment
 * (RFC 6946) is passed over.
 */
export function ipv6Transport(buf: Uint8Array, off: number, len: number): number {
  let protocol = buf[off + 6];
  let at = IPV6_HEADER;
  for (let headers = 0; headers <= MAX_EXTENSIONS; headers++) {
    switch (protocol) {
      case IpProtocol.HOP_BY_HOP:
      case IpProtocol.IPV6_ROUTE:
      case IpProtocol.IPV6_OPTIONS: {
        if (at + 8 > len) return -1;
        protocol = buf[off + at];
        at += (buf[off + at + 1] + 1) * 8;
        break;
      }
      case IpProtocol.AH: {
        if (at + 8 > len) return -1;
        protocol = buf[off + at];
        at += (buf[off + at + 1] + 2) * 4;
        break;
      }
      case IpProtocol.IPV6_FRAGMENT: {
        if (at + IPV6_FRAGMENT_HEADER > len) return -1;
        // Offset and the M flag: any of them set makes it a part of a datagram.
        if ((get16(buf, off + at + 2) & 0xfff9) !== 0) {
          return IpProtocol.IPV6_FRAGMENT * 0x10000 + at;
        }
        protocol = buf[off + at];
        at += IPV6_FRAGMENT_HEADER;
        break;
      }
      default:
        return at > len ? -1 : protocol * 0x10000 + at;
    }
  }
  return -1;
}

export const IPV6_PAYLOAD_LENGTH = 4;
export const IPV6_NEXT_HEADER = 6;
export const IPV6_HOP_LIMIT = 7;
export const IPV6_SRC = 8;
export const IPV6_DST = 24;

/** Writes a header of 40 bytes; `length` is that of what follows it. */
export function writeIpv6(
  buf: Uint8Array,
  off: number,
  length: number,
  nextHeader: IpProtocol,
  src: IpAddr,
  dst: IpAddr,
  hopLimit = 64,
  trafficClass = 0,
  flowLabel = 0,
): void {
  put32(buf, off, 0x60000000 | (trafficClass << 20) | flowLabel);
  put16(buf, off + IPV6_PAYLOAD_LENGTH, length);
  buf[off + IPV6_NEXT_HEADER] = nextHeader;
  buf[off + IPV6_HOP_LIMIT] = hopLimit;
  put32(buf, off + IPV6_SRC, src.w0);
  put32(buf, off + IPV6_SRC + 4, src.w1);
  put32(buf, off + IPV6_SRC + 8, src.w2);
  put32(buf, off + IPV6_SRC + 12, src.w3);
  put32(buf, off + IPV6_DST, dst.w0);
  put32(buf, off + IPV6_DST + 4, dst.w1);
  put32(buf, off + IPV6_DST + 8, dst.w2);
  put32(buf, off + IPV6_DST + 12, dst.w3);
}

/** A fixed header as a plain object, for control-plane code, tests and printing. */
export interface Ipv6Header {
  src: IpAddr;
  dst: IpAddr;
  nextHeader: IpProtocol;
  hopLimit: number;
  /** DSCP and ECN. */
  trafficClass: number;
  flowLabel: number;
  /** Extension headers included. */
  payloadLen: number;
}

/** Reads a valid packet's header; null for one that is not IPv6. */
export function parse(packet: Packet): Ipv6Header | null {
  const { buf, off } = packet;
  if (packet.version !== 6) return null;
  const first = get32(buf, off);
  return {
    src: IpAddr.read(6, buf, off + IPV6_SRC),
    dst: IpAddr.read(6, buf, off + IPV6_DST),
    nextHeader: buf[off + IPV6_NEXT_HEADER],
    hopLimit: buf[off + IPV6_HOP_LIMIT],
    trafficClass: (first >>> 20) & 0xff,
    flowLabel: first & 0xfffff,
    payloadLen: get16(buf, off + IPV6_PAYLOAD_LENGTH),
  };
}

/** What `write` cannot guess. */
export type Ipv6Fields = Pick<Ipv6Header, 'src' | 'dst' | 'nextHeader' | 'payloadLen'> &
  Partial<Ipv6Header>;

/** Writes a header and gives its length of 40. */
export function write(buf: Uint8Array, off: number, fields: Ipv6Fields): number {
  writeIpv6(
    buf,
    off,
    fields.payloadLen,
    fields.nextHeader,
    fields.src,
    fields.dst,
    fields.hopLimit ?? 64,
    fields.trafficClass ?? 0,
    fields.flowLabel ?? 0,
  );
  return IPV6_HEADER;
}
