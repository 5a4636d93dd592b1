/**
 * Segmentation and checksums in software, for devices that leave them to others: TCP super-segments become TCP segments,
 * UDP ones datagrams, partial checksums full ones. Works on frames (`link` bytes in front of the IP header) and packets
 * alike, in pooled buffers; nothing but the windows is allocated.
 */

import { copyBytes, get16, get32, put16, put32 } from './bytes.ts';
import { checksum, combine, copyAndSum, pseudoHeaderSum, sum } from './checksum.ts';
import type { L2Device, L3Device } from './device.ts';
import { Frame } from './frame.ts';
import { Accept, CHECKSUM_TRUSTED, SEGMENT_SIZE_MASK } from './offload.ts';
import { ipLength, Packet } from './packet.ts';
import { HEADROOM, pool, TAILROOM } from './pool.ts';
import {
  IPV4_CHECKSUM,
  IPV4_HEADER,
  IPV4_ID,
  IPV4_MF,
  IPV4_OFFSET_MASK,
  IpProtocol,
} from './wire/ipv4.ts';
import { IPV6_HEADER, IPV6_PAYLOAD_LENGTH, ipv6Transport } from './wire/ipv6.ts';
import { headerLen, TCP_CHECKSUM, TCP_FLAGS, TCP_HEADER, TCP_SEQ, TcpFlag } from './wire/tcp.ts';
import { UDP_CHECKSUM, UDP_HEADER, UDP_LENGTH } from './wire/udp.ts';

/** What the process has done in software for devices without offloads. */
export interface OffloadStats {
  /** Super-segments taken apart. */
  segmented: number;
  /** Segments made of them. */
  segments: number;
  /** Partial checksums completed. */
  completed: number;
  /** Dropped: marked for offload, but with lengths or a protocol for which that makes no sense. */
  dropMalformed: number;
  /** Dropped: even one segment is larger than the device's MTU. */
  dropTooBig: number;
}

export const offloadStats: OffloadStats = {
  segmented: 0,
  segments: 0,
  completed: 0,
  dropMalformed: 0,
  dropTooBig: 0,
};

/** The `Accept` bit that a device needs for this super-segment; 0 when it is none that makes sense. */
export function superSegmentKind(buf: Uint8Array, ip: number, len: number): number {
  const transport = transportOf(buf, ip, ipLength(buf, ip, len));
  if (transport < 0) return 0;
  const protocol = transport >>> 16;
  if (protocol === IpProtocol.UDP) return Accept.USO;
  if (protocol !== IpProtocol.TCP) return 0;
  return buf[ip] >>> 4 === 4 ? Accept.TSO4 : Accept.TSO6;
}

/** Sends a super-segment as the packets that it stands for, to the one device that is given. */
export function sendSegments(
  l2: L2Device | null,
  l3: L3Device | null,
  buf: Uint8Array,
  off: number,
  link: number,
  len: number,
  offload: number,
): void {
  const ip = off + link;
  const total = ipLength(buf, ip, len - link);
  const header = headersOf(buf, ip, total);
  if (header < 0) {
    offloadStats.dropMalformed++;
    return;
  }
  const size = offload & SEGMENT_SIZE_MASK;
  const payload = total - header;
  const mtu = l2 !== null ? l2.mtu : (l3 as L3Device).mtu;
  if (header + Math.min(size, payload) > mtu) {
    offloadStats.dropTooBig++;
    return;
  }
  offloadStats.segmented++;
  const trusted = offload & CHECKSUM_TRUSTED;
  const out = pool.take(HEADROOM + link + header + Math.min(size, payload) + TAILROOM);
  try {
    let done = 0;
    let index = 0;
    // Once at least: a super-segment without payload is one ordinary packet.
    do {
      const part = Math.min(size, payload - done);
      buildSegment(buf, off, link, total, header, done, part, index++, payload, out);
      done += part;
      offloadStats.segments++;
      const outLen = link + header + part;
      if (l2 !== null) l2.send(new Frame(out, HEADROOM, outLen, trusted));
      else (l3 as L3Device).send(new Packet(out, HEADROOM, outLen, trusted));
    } while (done < payload);
  } finally {
    pool.give(out);
  }
}

/**
 * Writes the segment that carries `part` bytes from `done` on into `out`, at `HEADROOM`. `header` is the length of IP and
 * transport header, `payload` that of the whole super-segment's data.
 */
function buildSegment(
  buf: Uint8Array,
  off: number,
  link: number,
  total: number,
  header: number,
  done: number,
  part: number,
  index: number,
  payload: number,
  out: Uint8Array,
): void {
  const srcIp = off + link;
  const ip = HEADROOM + link;
  copyBytes(out, HEADROOM, buf, off, link + header);
  const transport = transportOf(buf, srcIp, total);
  const protocol = transport >>> 16;
  const at = transport & 0xffff;
  const message = header - at + part;
  if (out[ip] >>> 4 === 4) {
    put16(out, ip + 2, at + message);
    // Each its own identification, as Linux does, so that later fragments could be told apart (RFC 6864 §4.1).
    put16(out, ip + IPV4_ID, get16(buf, srcIp + IPV4_ID) + index);
    put16(out, ip + IPV4_CHECKSUM, 0);
    put16(out, ip + IPV4_CHECKSUM, checksum(out, ip, (out[ip] & 15) * 4));
  } else {
    put16(out, ip + IPV6_PAYLOAD_LENGTH, at - IPV6_HEADER + message);
  }
  const l4 = ip + at;
  const data = ip + header;
  let field = l4 + UDP_CHECKSUM;
  if (protocol === IpProtocol.TCP) {
    field = l4 + TCP_CHECKSUM;
    put32(out, l4 + TCP_SEQ, get32(buf, srcIp + at + TCP_SEQ) + done);
    // FIN and PSH belong to the end of the data; CWR answers once (RFC 3168 §6.1.2).
    if (done + part < payload) out[l4 + TCP_FLAGS] &= ~(TcpFlag.FIN | TcpFlag.PSH);
    if (index > 0) out[l4 + TCP_FLAGS] &= ~TcpFlag.CWR;
  } else {
    put16(out, l4 + UDP_LENGTH, message);
  }
  put16(out, field, 0);
  // The transport header has an even length, so the parts may be added.
  const sums = combine(
    pseudoHeaderSum(out, ip, protocol, message),
    combine(sum(out, l4, header - at), copyAndSum(out, data, buf, srcIp + header + done, part)),
  );
  const check = ~sums & 0xffff;
  put16(out, field, check === 0 && protocol === IpProtocol.UDP ? 0xffff : check);
}

/** Sends an ordinary packet with its partial checksum completed, in a copy: others may still need the original. */
export function sendCompleted(
  l2: L2Device | null,
  l3: L3Device | null,
  buf: Uint8Array,
  off: number,
  link: number,
  len: number,
  offload: number,
): void {
  const ip = off + link;
  const total = ipLength(buf, ip, len - link);
  if (headersOf(buf, ip, total) < 0) {
    offloadStats.dropMalformed++;
    return;
  }
  const out = pool.take(HEADROOM + len + TAILROOM);
  try {
    completeCopy(buf, off, link, total, out, HEADROOM);
    offloadStats.completed++;
    const outLen = link + total;
    const trusted = offload & CHECKSUM_TRUSTED;
    if (l2 !== null) l2.send(new Frame(out, HEADROOM, outLen, trusted));
    else (l3 as L3Device).send(new Packet(out, HEADROOM, outLen, trusted));
  } finally {
    pool.give(out);
  }
}

/**
 * Copies a packet of `total` bytes behind `link` others and computes its transport checksum in full. The packet must be
 * one that `headersOf` knows. Serves partial checksums and whole super-segments (for a capture) alike.
 */
export function completeCopy(
  buf: Uint8Array,
  off: number,
  link: number,
  total: number,
  out: Uint8Array,
  outOff: number,
): void {
  const ip = off + link;
  const transport = transportOf(buf, ip, total);
  const protocol = transport >>> 16;
  const at = transport & 0xffff;
  const field = at + (protocol === IpProtocol.TCP ? TCP_CHECKSUM : UDP_CHECKSUM);
  const outIp = outOff + link;
  copyBytes(out, outOff, buf, off, link + at);
  const had = get16(buf, ip + field);
  const all = copyAndSum(out, outIp + at, buf, ip + at, total - at);
  // Whatever the field held is taken out of the sum again.
  const sums = combine(
    combine(all, ~had & 0xffff),
    pseudoHeaderSum(out, outIp, protocol, total - at),
  );
  const check = ~sums & 0xffff;
  put16(out, outIp + field, check === 0 && protocol === IpProtocol.UDP ? 0xffff : check);
}

/**
 * The length of IP and transport header of a TCP or UDP packet of `total` bytes; -1 when it is none, is a fragment, or its
 * lengths do not fit.
 */
export function headersOf(buf: Uint8Array, ip: number, total: number): number {
  const transport = transportOf(buf, ip, total);
  if (transport < 0) return -1;
  const protocol = transport >>> 16;
  const at = transport & 0xffff;
  if (protocol === IpProtocol.UDP) return at + UDP_HEADER <= total ? at + UDP_HEADER : -1;
  if (protocol !== IpProtocol.TCP || at + TCP_HEADER > total) return -1;
  const header = headerLen(buf, ip + at);
  return header >= TCP_HEADER && at + header <= total ? at + header : -1;
}

function transportOf(buf: Uint8Array, ip: number, total: number): number {
  if (total < IPV4_HEADER) return -1;
  if (buf[ip] >>> 4 === 6) return ipv6Transport(buf, ip, total);
  if ((get16(buf, ip + 6) & (IPV4_MF | IPV4_OFFSET_MASK)) !== 0) return -1;
  return buf[ip + 9] * 0x10000 + (buf[ip] & 15) * 4;
}
