/**
 * Splitting packets that are too big for a link: IPv4 on the way (RFC 791 §3.2), IPv6 at its source only (RFC 8200 §4.5).
 * Reassembly is in `reassembly.ts`.
 */

import { copyBytes, get16, put16, put32 } from './bytes.ts';
import { checksum } from './checksum.ts';
import { Packet } from './packet.ts';
import { HEADROOM, pool, TAILROOM } from './pool.ts';
import { IPV4_DF, IPV4_HEADER, IPV4_MF, IPV4_OFFSET_MASK, IpProtocol } from './wire/ipv4.ts';
import { IPV6_FRAGMENT_HEADER, IPV6_HEADER } from './wire/ipv6.ts';

/**
 * Hands out `packet` in fragments of at most `mtu` bytes, each a window on a pooled buffer that is valid until `emit`
 * returns. Checksums must be complete: a partial one cannot be finished over a fragment. Gives how many there were; 0 when
 * the packet must not be fragmented or cannot be.
 */
export function fragment4(packet: Packet, mtu: number, emit: (packet: Packet) => void): number {
  const { buf, off, len } = packet;
  const header = packet.headerLen;
  const flags = get16(buf, off + 6);
  if ((flags & IPV4_DF) !== 0) return 0;
  const room = (mtu - header) & ~7;
  if (room < 8) return 0;
  // Only some options are repeated in later fragments (the copied flag, RFC 791 §3.1).
  const later = laterHeader(buf, off, header);
  const base = flags & IPV4_OFFSET_MASK;
  let count = 0;
  for (let at = header; at < len; count++) {
    const first = at === header;
    const head = first ? header : later.length;
    const size = Math.min(first ? room : (mtu - head) & ~7, len - at);
    const out = pool.take(HEADROOM + head + size + TAILROOM);
    if (first) copyBytes(out, HEADROOM, buf, off, header);
    else copyBytes(out, HEADROOM, later, 0, head);
    copyBytes(out, HEADROOM + head, buf, off + at, size);
    const more = at + size < len ? IPV4_MF : flags & IPV4_MF;
    put16(out, HEADROOM + 2, head + size);
    put16(out, HEADROOM + 6, more | (base + (at - header) / 8));
    put16(out, HEADROOM + 10, 0);
    put16(out, HEADROOM + 10, checksum(out, HEADROOM, head));
    emit(new Packet(out, HEADROOM, head + size, 0));
    pool.give(out);
    at += size;
  }
  return count;
}

/** The same for IPv6, with `id` unpredictable (RFC 7739) and new for every packet. Only for packets that start here. */
export function fragment6(
  packet: Packet,
  mtu: number,
  id: number,
  emit: (packet: Packet) => void,
): number {
  const { buf, off, len } = packet;
  // Extension headers that every hop reads stay in front of the fragment header.
  let unfragmentable = IPV6_HEADER;
  let nextField = 6;
  if (buf[off + 6] === IpProtocol.HOP_BY_HOP) {
    nextField = IPV6_HEADER;
    unfragmentable += (buf[off + IPV6_HEADER + 1] + 1) * 8;
  }
  const next = buf[off + nextField];
  const room = (mtu - unfragmentable - IPV6_FRAGMENT_HEADER) & ~7;
  if (room < 8 || unfragmentable > len || next === IpProtocol.IPV6_FRAGMENT) return 0;
  const head = unfragmentable + IPV6_FRAGMENT_HEADER;
  let count = 0;
  for (let at = unfragmentable; at < len; count++) {
    const size = Math.min(room, len - at);
    const out = pool.take(HEADROOM + head + size + TAILROOM);
    copyBytes(out, HEADROOM, buf, off, unfragmentable);
    out[HEADROOM + nextField] = IpProtocol.IPV6_FRAGMENT;
    put16(out, HEADROOM + 4, head - IPV6_HEADER + size);
    const fragment = HEADROOM + unfragmentable;
    out[fragment] = next;
    out[fragment + 1] = 0;
    put16(out, fragment + 2, (at - unfragmentable) | (at + size < len ? 1 : 0));
    put32(out, fragment + 4, id);
    copyBytes(out, HEADROOM + head, buf, off + at, size);
    emit(new Packet(out, HEADROOM, head + size, 0));
    pool.give(out);
    at += size;
  }
  return count;
}

function laterHeader(buf: Uint8Array, off: number, header: number): Uint8Array {
  const bytes = buf.slice(off, off + header);
  if (header === IPV4_HEADER) return bytes;
  let kept = IPV4_HEADER;
  for (let at = IPV4_HEADER; at < header; ) {
    const kind = bytes[at];
    if (kind === 0) break;
    if (kind === 1) {
      at++;
      continue;
    }
    const size = at + 1 < header ? bytes[at + 1] : 0;
    if (size < 2 || at + size > header) break;
    if ((kind & 0x80) !== 0) {
      bytes.copyWithin(kept, at, at + size);
      kept += size;
    }
    at += size;
  }
  while ((kept & 3) !== 0) bytes[kept++] = 0;
  bytes[0] = 0x40 | (kept / 4);
  return bytes.subarray(0, kept);
}
