/** Answers that need no connection (RST, SYN cookies, TIME-WAIT's acknowledgements): built at once, sent at the batch's end. */

import { HEADROOM, type Packet, pool } from '@pktkit/core';
import type { Flow } from './flow.ts';
import {
  TIMESTAMPS_LENGTH,
  writeMss,
  writeSackPermittedShort,
  writeTimestamps,
  writeWindowScale,
} from './options.ts';
import { finishPacket, ipHeaderLength, takeBuffer, writeIpHeader } from './packet-writer.ts';
import { ACK, ECE, SYN, TCP_HEADER, writeHeader } from './segment.ts';

/** Of one batch; a flood of unmatched segments must not become a flood of memory. */
const MAX_QUEUED = 1024;

export class Replies {
  #queue: Packet[] = [];
  #spare: Packet[] = [];

  get isEmpty(): boolean {
    return this.#queue.length === 0;
  }

  get isFull(): boolean {
    return this.#queue.length >= MAX_QUEUED;
  }

  push(packet: Packet): void {
    this.#queue.push(packet);
  }

  drain(output: (packet: Packet) => void): void {
    const queue = this.#queue;
    this.#queue = this.#spare;
    for (let i = 0; i < queue.length; i++) {
      output(queue[i]);
      pool.give(queue[i].buf);
    }
    while (queue.length > 0) queue.pop();
    this.#spare = queue;
  }
}

/** What a SYN-ACK offers that no connection remembers. */
export interface CookieOffer {
  mss: number;
  window: number;
  /** -1: none. */
  scale: number;
  sack: boolean;
  ecn: boolean;
  ts: boolean;
  tsVal: number;
  tsEcr: number;
}

/** The SYN-ACK that carries a SYN cookie. Without timestamps it can offer nothing but a segment size. */
export function cookieSegment(
  flow: Flow,
  seq: number,
  ack: number,
  offer: CookieOffer,
  offload: number,
): Packet {
  const length = TCP_HEADER + 4 + (offer.ts ? TIMESTAMPS_LENGTH : 0) + (offer.scale < 0 ? 0 : 4);
  const ipHeader = ipHeaderLength(flow);
  const buf = takeBuffer(length, ipHeader);
  const off = HEADROOM + ipHeader;
  writeIpHeader(buf, flow, length, 64, 0);
  const flags = SYN | ACK | (offer.ecn ? ECE : 0);
  writeHeader(buf, off, flow.localPort, flow.remotePort, seq, ack, length, flags, offer.window);
  const at = writeMss(buf, off + TCP_HEADER, offer.mss);
  if (offer.ts) {
    const end = writeTimestamps(buf, at, offer.tsVal, offer.tsEcr);
    if (offer.sack) writeSackPermittedShort(buf, at);
    if (offer.scale >= 0) writeWindowScale(buf, end, offer.scale);
  }
  return finishPacket(buf, flow, length, 0, offload);
}

/** A segment without data; timestamps when `tsVal` is not 0. */
export function bareSegment(
  flow: Flow,
  seq: number,
  ack: number,
  flags: number,
  window: number,
  tsVal: number,
  tsEcr: number,
  offload: number,
): Packet {
  const length = TCP_HEADER + (tsVal === 0 ? 0 : TIMESTAMPS_LENGTH);
  const ipHeader = ipHeaderLength(flow);
  const buf = takeBuffer(length, ipHeader);
  const off = HEADROOM + ipHeader;
  writeIpHeader(buf, flow, length, 64, 0);
  writeHeader(buf, off, flow.localPort, flow.remotePort, seq, ack, length, flags, window);
  if (tsVal !== 0) writeTimestamps(buf, off + TCP_HEADER, tsVal, tsEcr);
  return finishPacket(buf, flow, length, 0, offload);
}
