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

import { get16 } from '../bytes.ts';
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
