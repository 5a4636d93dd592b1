/**
 * The way out: one packet, or every segment of a super-segment, sealed from where it lies into a pooled buffer that the link
 * sends. Nothing is allocated per packet.
 *
 *      0        4         8                  16                           16 + padded
 *     +--------+---------+------------------+----------------------------+-------------+
 *     | type 4 | index   | counter          | packet, sealed             | tag         |
 *     +--------+---------+------------------+----------------------------+-------------+
 */

import { HEADROOM, type Packet, pool } from '@pktkit/core';
import type { CounterAead } from '@pktkit/crypto';
import {
  MAX_DATAGRAM,
  MessageType,
  PADDING,
  TRANSPORT_HEADER,
  TRANSPORT_MIN,
  TRANSPORT_OVERHEAD,
} from './constants.ts';
import { put32le } from './le.ts';
import { type Link, NO_ENDPOINT } from './link.ts';
import type { Session } from './session.ts';
import type { EngineStats } from './stats.ts';

const NOTHING = new Uint8Array(0);

export class Sealer {
  readonly #link: Link;
  readonly #stats: EngineStats;

  constructor(link: Link, stats: EngineStats) {
    this.#link = link;
    this.#stats = stats;
  }

  /** The session must be fresh. */
  send(session: Session, packet: Packet, _now: number): void {
    const { peer } = session;
    if (peer.endpoint === NO_ENDPOINT) {
      this.#stats.dropNoEndpoint++;
      return;
    }
    const padded = paddedLength(packet.len, peer.identity.mtu);
    if (padded > MAX_DATAGRAM - TRANSPORT_OVERHEAD) {
      this.#stats.dropTooLarge++;
      return;
    }
    this.#sealAndSend(session, packet.buf, packet.off, packet.len, padded);
  }

  sendEmpty(session: Session): void {
    if (session.peer.endpoint === NO_ENDPOINT) {
      this.#stats.dropNoEndpoint++;
      return;
    }
    this.#sealAndSend(session, NOTHING, 0, 0, 0);
  }

  #sealAndSend(session: Session, buf: Uint8Array, off: number, len: number, padded: number): void {
    const out = pool.take(HEADROOM + TRANSPORT_MIN + padded);
    const text = HEADROOM + TRANSPORT_HEADER;
    const { peer } = session;
    const low = session.sendLow;
    const high = session.sendHigh;
    writeHeader(out, HEADROOM, session, low, high);
    if (low === 0xffffffff) {
      session.sendLow = 0;
      session.sendHigh = high + 1;
    } else {
      session.sendLow = low + 1;
    }
    const aead = session.sealer as CounterAead;
    if (padded === len) {
      aead.sealCounter(out, text, buf, off, len, low, high);
    } else {
      // What lies behind the packet is not ours to send: the padding is zeros of our own.
      out.set(buf.subarray(off, off + len), text);
      out.fill(0, text + len, text + padded);
      aead.sealCounter(out, text, out, text, padded, low, high);
    }
    const total = TRANSPORT_OVERHEAD + padded;
    peer.noteSent(total);
    this.#stats.sent++;
    this.#link.send(out, HEADROOM, total, peer.endpoint);
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
  session: Session,
  low: number,
  high: number,
): void {
  out[off] = MessageType.TRANSPORT;
  out[off + 1] = 0;
  out[off + 2] = 0;
  out[off + 3] = 0;
  put32le(out, off + 4, session.remoteIndex);
  put32le(out, off + 8, low);
  put32le(out, off + 12, high);
}
