/** UDP over IPv4 around a DHCP message, built in place. */

import { put16 } from '../bytes.ts';
import { transportChecksum } from '../checksum.ts';
import { IPV4_HEADER, IpProtocol, writeIpv4 } from '../wire/ipv4.ts';
import { UDP_CHECKSUM, UDP_HEADER, write as writeUdp } from '../wire/udp.ts';

/** Bytes in front of the message. */
export const DATAGRAM_HEADERS: number = IPV4_HEADER + UDP_HEADER;
/** Largest message that is sent: fits a 1500-byte packet. */
export const MAX_MESSAGE: number = 1500 - DATAGRAM_HEADERS;

/**
 * Writes the headers in front of a message of `len` bytes that stands at `off + DATAGRAM_HEADERS`; gives the packet's length.
 * Addresses are 32-bit integers.
 */
export function writeDatagram4(
  buf: Uint8Array,
  off: number,
  src: number,
  dst: number,
  srcPort: number,
  dstPort: number,
  len: number,
  id: number,
): number {
  const total = DATAGRAM_HEADERS + len;
  const at = off + IPV4_HEADER;
  // May be fragmented on the way to a relay: DF is clear, so the identification counts.
  writeIpv4(buf, off, total, IpProtocol.UDP, src, dst, 64, id, 0);
  writeUdp(buf, at, srcPort, dstPort, UDP_HEADER + len);
  put16(buf, at + UDP_CHECKSUM, transportChecksum(buf, off, IpProtocol.UDP, at, UDP_HEADER + len));
  return total;
}
