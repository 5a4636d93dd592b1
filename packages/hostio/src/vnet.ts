/**
 * `struct virtio_net_hdr`, which TUN, TAP and AF_PACKET put in front of a packet, from and to core's offload integer.
 *
 *      0       1       2               4               6               8              10
 *     +-------+-------+---------------+---------------+---------------+---------------+
 *     | flags | gso   | header length | segment size  | checksum from | … stored at   |
 *     +-------+-------+---------------+---------------+---------------+---------------+
 *
 * Little-endian on the machines served. "Checksum from" counts from the start of the packet (TUN) or frame (TAP);
 * "stored at" counts from there. Source: Virtual I/O Device 1.3, §5.1.6.
 */

import {
  CHECKSUM_PARTIAL,
  CHECKSUM_TRUSTED,
  checksum,
  IPV4_HEADER,
  IPV6_HEADER,
  IpProtocol,
  ipv6Transport,
  pseudoHeaderSum,
  put16,
  SEGMENT_SIZE_MASK,
} from '@pktkit/core';

export const VNET_HEADER = 10;

const NEEDS_CSUM = 1;
const DATA_VALID = 2;

const GSO_NONE = 0;
const GSO_TCPV4 = 1;
const GSO_TCPV6 = 4;
const GSO_UDP_L4 = 5;
const GSO_ECN = 0x80;

/** What `readVnet` and `writeVnet` give for a header or packet that does not make sense. */
export const VNET_INVALID = -1;

/** Where the transport checksum lies within its header; -1 for a protocol whose checksum nobody offloads. */
function checksumAt(protocol: number): number {
  if (protocol === IpProtocol.TCP) return 16;
  return protocol === IpProtocol.UDP ? 6 : -1;
}

/**
 * The offload integer for the IP packet of `len` bytes at `off`, whose header lies at `at` and which starts `link` bytes
 * before the packet. A partial checksum that is not the transport's own (that of an inner packet of some tunnel) is
 * completed here, since core has no word for it. `VNET_INVALID` when the header and the packet contradict each other.
 */
export function readVnet(
  buf: Uint8Array,
  at: number,
  link: number,
  off: number,
  len: number,
): number {
  const flags = buf[at];
  const gso = buf[at + 1] & ~GSO_ECN;
  if ((flags & NEEDS_CSUM) === 0) {
    if (gso !== GSO_NONE) return VNET_INVALID;
    return (flags & DATA_VALID) !== 0 ? CHECKSUM_TRUSTED : 0;
  }
  const start = (buf[at + 6] | (buf[at + 7] << 8)) - link;
  const stored = start + (buf[at + 8] | (buf[at + 9] << 8));
  if (start < 0 || stored + 2 > len) return VNET_INVALID;
  const transport = transportOf(buf, off, len);
  const protocol = transport >> 16;
  if (transport < 0 || (transport & 0xffff) !== start || stored - start !== checksumAt(protocol)) {
    if (gso !== GSO_NONE) return VNET_INVALID;
    complete(buf, off + start, len - start, off + stored);
    return 0;
  }
  if (gso === GSO_NONE) return CHECKSUM_PARTIAL;
  const size = buf[at + 4] | (buf[at + 5] << 8);
  const expected = protocol === IpProtocol.UDP ? GSO_UDP_L4 : gsoOfTcp(buf[off]);
  return gso === expected && size > 0 ? CHECKSUM_PARTIAL | size : VNET_INVALID;
}

/**
 * Writes the header for a packet into the 10 bytes at `at`; the packet is `len` bytes at `off` and starts `link` bytes
 * into what is sent. `VNET_INVALID` when the offload integer asks for what the packet does not allow.
 */
export function writeVnet(
  buf: Uint8Array,
  at: number,
  link: number,
  off: number,
  len: number,
  offload: number,
): number {
  for (let i = 0; i < VNET_HEADER; i++) buf[at + i] = 0;
  const size = offload & SEGMENT_SIZE_MASK;
  if (size === 0 && (offload & CHECKSUM_PARTIAL) === 0) {
    if ((offload & CHECKSUM_TRUSTED) !== 0) buf[at] = DATA_VALID;
    return 0;
  }
  const transport = transportOf(buf, off, len);
  if (transport < 0) return VNET_INVALID;
  const start = transport & 0xffff;
  const protocol = transport >> 16;
  const stored = checksumAt(protocol);
  if (stored < 0 || start + stored + 2 > len) return VNET_INVALID;
  buf[at] = NEEDS_CSUM;
  buf[at + 6] = link + start;
  buf[at + 7] = (link + start) >>> 8;
  buf[at + 8] = stored;
  if (size === 0) return 0;
  if ((offload & CHECKSUM_PARTIAL) === 0) {
    put16(buf, off + start + stored, pseudoHeaderSum(buf, off, protocol, len - start));
  }
  let header = start + 8;
  let gso = GSO_UDP_L4;
  if (protocol === IpProtocol.TCP) {
    if (start + 20 > len) return VNET_INVALID;
    header = start + (buf[off + start + 12] >>> 4) * 4;
    gso = gsoOfTcp(buf[off]);
    // CWR belongs to the first segment only (RFC 3168 §6.1.2), which the segmenter must be told.
    if ((buf[off + start + 13] & 0x80) !== 0) gso |= GSO_ECN;
  }
  // All fits one segment: an ordinary packet with a partial checksum.
  if (len - header <= size) return 0;
  buf[at + 1] = gso;
  buf[at + 2] = link + header;
  buf[at + 3] = (link + header) >>> 8;
  buf[at + 4] = size;
  buf[at + 5] = size >>> 8;
  return 0;
}

function gsoOfTcp(firstByte: number): number {
  return firstByte >>> 4 === 4 ? GSO_TCPV4 : GSO_TCPV6;
}

/** `protocol * 0x10000 + offset`, or -1 for a fragment or what is no whole IP header. */
function transportOf(buf: Uint8Array, off: number, len: number): number {
  const first = buf[off];
  if (first >>> 4 === 4) {
    const header = (first & 15) * 4;
    if (len < IPV4_HEADER || header < IPV4_HEADER || len < header) return -1;
    return (buf[off + 9] << 16) | header;
  }
  if (first >>> 4 !== 6 || len < IPV6_HEADER) return -1;
  return ipv6Transport(buf, off, len);
}

/** Finishes a checksum whose field holds the sum of whatever precedes `from`. */
function complete(buf: Uint8Array, from: number, len: number, stored: number): void {
  // A result of zero is sent as its other form: in UDP zero would say that there is none (RFC 768).
  put16(buf, stored, checksum(buf, from, len) || 0xffff);
}
