/**
 * The way out: one packet, or every segment of a super-segment, sealed from where it lies into a pooled buffer that the link
 * sends. Nothing is allocated per packet.
 *
 *      0        4         8                  16                           16 + padded
 *     +--------+---------+------------------+----------------------------+-------------+
 *     | type 4 | index   | counter          | packet, sealed             | tag         |
 *     +--------+---------+------------------+----------------------------+-------------+
 */

import {
  CHECKSUM_PARTIAL,
  completeChecksum,
  copyBytes,
  HEADROOM,
  IpProtocol,
  type Packet,
  pool,
  SEGMENT_SIZE_MASK,
} from '@pktkit/core';
import type { CounterAead } from '@pktkit/crypto';
import {
  MAX_DATAGRAM,
  MessageType,
  PADDING,
  TRANSPORT_HEADER,
  TRANSPORT_OVERHEAD,
} from './constants.ts';
import { ecnOf } from './ecn.ts';
import { put32le } from './le.ts';
import { type Link, NO_ENDPOINT } from './link.ts';
import { SegmentWriter } from './segments.ts';
import type { Session } from './session.ts';
import type { EngineStats } from './stats.ts';

/** Where the packet starts in a pooled buffer. */
const TEXT = HEADROOM + TRANSPORT_HEADER;
/** Largest padded packet. */
const MAX_TEXT = MAX_DATAGRAM - TRANSPORT_OVERHEAD;

export class Sealer {
  readonly #link: Link;
  readonly #stats: EngineStats;
  readonly #segments = new SegmentWriter();
  #segmenting = false;

  constructor(link: Link, stats: EngineStats) {
    this.#link = link;
    this.#stats = stats;
  }

  /** The session must be fresh. */
  send(session: Session, packet: Packet): void {
    const { peer } = session;
    if (peer.endpoint === NO_ENDPOINT) {
      this.#stats.dropNoEndpoint++;
      return;
    }
    if ((packet.offload & SEGMENT_SIZE_MASK) !== 0) {
      this.#sendSegments(session, packet);
      return;
    }
    const { len } = packet;
    const padded = paddedLength(len, peer.identity.mtu);
    if (padded > MAX_TEXT) {
      this.#stats.dropTooLarge++;
      return;
    }
    if ((packet.offload & CHECKSUM_PARTIAL) === 0 && padded === len) {
      const out = pool.take(HEADROOM + TRANSPORT_OVERHEAD + padded);
      this.#seal(session, out, packet.buf, packet.off, len, ecnOf(packet.buf, packet.off));
      return;
    }
    const out = pool.take(HEADROOM + TRANSPORT_OVERHEAD + padded);
    copyBytes(out, TEXT, packet.buf, packet.off, len);
    if ((packet.offload & CHECKSUM_PARTIAL) !== 0 && !complete(out, packet)) {
      pool.give(out);
      this.#stats.dropBadPacket++;
      return;
    }
    // What lies behind the packet is not ours to send: the padding is zeros of our own.
    out.fill(0, TEXT + len, TEXT + padded);
    this.#seal(session, out, out, TEXT, padded, ecnOf(packet.buf, packet.off));
  }

  sendEmpty(session: Session): void {
    if (session.peer.endpoint === NO_ENDPOINT) {
      this.#stats.dropNoEndpoint++;
      return;
    }
    const out = pool.take(HEADROOM + TRANSPORT_OVERHEAD);
    this.#seal(session, out, out, TEXT, 0, 0);
  }

  #sendSegments(session: Session, packet: Packet): void {
    // A link that delivers on our stack may bring the next super-segment before this one is through.
    const segments = this.#segmenting ? new SegmentWriter() : this.#segments;
    const { mtu } = session.peer.identity;
    if (!segments.begin(packet)) {
      this.#stats.dropBadPacket++;
      return;
    }
    const { count } = segments;
    const tos = ecnOf(packet.buf, packet.off);
    if (segments.largest > mtu) {
      this.#stats.dropTooLarge++;
      return;
    }
    const outer = this.#segmenting;
    this.#segmenting = true;
    for (let i = 0; i < count; i++) {
      // The link may give the thread to others, and the session may end by it.
      if (session.sealer === null) break;
      const out = pool.take(HEADROOM + TRANSPORT_OVERHEAD + PADDING + segments.largest);
      const len = segments.write(i, out, TEXT);
      const padded = paddedLength(len, mtu);
      if (padded > len) out.fill(0, TEXT + len, TEXT + padded);
      this.#seal(session, out, out, TEXT, padded, tos);
    }
    this.#segmenting = outer;
    segments.end();
  }

  /** Seals into `out` behind its headroom, sends it and gives it back. */
  #seal(
    session: Session,
    out: Uint8Array,
    buf: Uint8Array,
    off: number,
    len: number,
    tos: number,
  ): void {
    const { peer } = session;
    const low = session.sendLow;
    const high = session.sendHigh;
    writeHeader(out, HEADROOM, session.remoteIndex, low, high);
    if (low === 0xffffffff) {
      session.sendLow = 0;
      session.sendHigh = high + 1;
    } else {
      session.sendLow = low + 1;
    }
    (session.sealer as CounterAead).sealCounter(out, TEXT, buf, off, len, low, high);
    const total = TRANSPORT_OVERHEAD + len;
    peer.noteSent(total);
    this.#stats.sent++;
    this.#link.send(out, HEADROOM, total, peer.endpoint, tos);
    pool.give(out);
  }
}

/** Rounded up to 16 bytes, but not beyond the MTU (whitepaper §5.4.6 and every implementation). */
export function paddedLength(len: number, mtu: number): number {
  const last = len > mtu ? len % mtu : len;
  const padded = Math.min((last + PADDING - 1) & ~(PADDING - 1), mtu);
  return len - last + padded;
}

export function writeHeader(
  out: Uint8Array,
  off: number,
  remoteIndex: number,
  low: number,
  high: number,
): void {
  out[off] = MessageType.TRANSPORT;
  out[off + 1] = 0;
  out[off + 2] = 0;
  out[off + 3] = 0;
  put32le(out, off + 4, remoteIndex);
  put32le(out, off + 8, low);
  put32le(out, off + 12, high);
}

/** Completes the checksum of the packet's copy behind the headroom; false when it has none that could be completed. */
function complete(out: Uint8Array, packet: Packet): boolean {
  const { transport, len } = packet;
  if (transport < 0) return false;
  const protocol = transport >>> 16;
  const at = transport & 0xffff;
  const field = checksumField(protocol);
  if (field < 0 || at + field + 2 > len) return false;
  completeChecksum(out, protocol, TEXT + at, len - at, TEXT + at + field);
  return true;
}

function checksumField(protocol: number): number {
  switch (protocol) {
    case IpProtocol.TCP:
      return 16;
    case IpProtocol.UDP:
      return 6;
    case IpProtocol.ICMPV6:
      return 2;
    default:
      return -1;
  }
}
