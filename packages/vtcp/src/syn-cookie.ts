/**
 * SYN cookies (RFC 4987 §3.6): when half-open entries run short, the SYN-ACK's sequence number itself remembers the
 * connection. It is a keyed hash over the whole four-tuple, the peer's sequence number and the minute, with the index of
 * the segment size in it:
 *
 *      31            27    24                                          0
 *     +---------------+-------+-----------------------------------------+
 *     | minute mod 32 |  mss  |  SipHash-2-4 (24 bits)                  |
 *     +---------------+-------+-----------------------------------------+
 *
 * With timestamps the lowest six bits of ours hold the other options, which the peer echoes: window scale (15: none),
 * SACK, ECN.
 */

import type { Packet } from '@pktkit/core';
import { scaleFor, type TcpConfig } from './config.ts';
import { Endpoints, type FlowKey } from './flow.ts';
import type { SynOptions } from './handshake.ts';
import { tupleWords } from './isn.ts';
import { cookieSegment } from './replies.ts';
import { CWR, ECE, type Segment } from './segment.ts';
import type { SipHash } from './siphash.ts';

const TICK = 64_000;
/** From RFC 4987's observation that few sizes occur; the largest that does not exceed the peer's is taken. */
const MSS_TABLE = [216, 536, 1220, 1300, 1380, 1440, 1460, 8940];
const words = new Int32Array(12);

const OPTION_BITS = 6;
const OPTION_MASK = (1 << OPTION_BITS) - 1;
const NO_SCALE = 15;

export class SynCookies {
  readonly #hash: SipHash;

  constructor(hash: SipHash) {
    this.#hash = hash;
  }

  /** The sequence number of the SYN-ACK. */
  generate(key: FlowKey, peerSeq: number, mss: number, now: number): number {
    let index = MSS_TABLE.length - 1;
    while (index > 0 && MSS_TABLE[index] > mss) index--;
    return this.#cookie(key, peerSeq, index, Math.floor(now / TICK));
  }

  /** The segment size that the cookie holds, or 0 when it is none of ours or more than two minutes old. */
  validate(key: FlowKey, cookie: number, peerSeq: number, now: number): number {
    const tick = Math.floor(now / TICK);
    const age = (tick - (cookie >>> 27)) & 31;
    if (age > 1) return 0;
    const index = (cookie >>> 24) & 7;
    return this.#cookie(key, peerSeq, index, tick - age) === (cookie | 0) ? MSS_TABLE[index] : 0;
  }

  /** Where our timestamps of a four-tuple start when nothing remembers the connection. */
  timestampOffset(key: FlowKey): number {
    const n = tupleWords(words, key);
    words[n] = 0x5453;
    return this.#hash.hash(words, n + 1);
  }

  /** The SYN-ACK for a SYN, of which nothing is remembered. */
  answer(
    key: FlowKey,
    segment: Segment,
    config: TcpConfig,
    mtu: number,
    now: number,
    offload: number,
  ): Packet {
    const isn = this.generate(key, segment.seq, segment.mss || defaultMss(key), now);
    const ts = config.timestamps && segment.hasTimestamp;
    const ecn = ts && config.ecn !== false && (segment.flags & (ECE | CWR)) === (ECE | CWR);
    const scale = ts && config.windowScale ? segment.windowScale : -1;
    const sack = ts && config.sack && segment.sackPermitted;
    const ours = (now + this.timestampOffset(key)) | 0;
    const offer = {
      mss: Math.min(config.mss, mtu - (key.family === 4 ? 40 : 60)),
      window: Math.min(65535, config.initialReceiveBuffer),
      scale: scale < 0 ? -1 : scaleFor(config.receiveBuffer),
      sack,
      ecn,
      ts,
      tsVal: ts ? encodeOptions(ours, scale, sack, ecn) : 0,
      tsEcr: segment.tsVal,
    };
    return cookieSegment(new Endpoints(key), isn, (segment.seq + 1) | 0, offer, offload);
  }

  /** What the SYN must have said, from the ACK that ends the handshake; null when it holds no cookie of ours. */
  restore(key: FlowKey, segment: Segment, config: TcpConfig, now: number): SynOptions | null {
    const seq = (segment.seq - 1) | 0;
    const mss = this.validate(key, (segment.ack - 1) | 0, seq, now);
    if (mss === 0) return null;
    const ts = segment.hasTimestamp && config.timestamps;
    const options = ts ? decodeOptions(segment.tsEcr) : NO_OPTIONS;
    return {
      seq,
      window: 0,
      mss,
      windowScale: options.windowScale,
      sackPermitted: options.sack,
      hasTimestamp: ts,
      tsVal: segment.tsVal,
      ecn: options.ecn,
    };
  }

  #cookie(key: FlowKey, peerSeq: number, index: number, tick: number): number {
    const n = tupleWords(words, key);
    words[n] = peerSeq;
    words[n + 1] = tick;
    words[n + 2] = index ^ 0x434f4f00;
    const hash = this.#hash.hash(words, n + 3);
    return ((tick & 31) << 27) | (index << 24) | (hash & 0xffffff);
  }
}

/** Our timestamp with the options in its lowest bits; never ahead of the clock by more than them. */
export function encodeOptions(
  timestamp: number,
  windowScale: number,
  sack: boolean,
  ecn: boolean,
): number {
  const bits = (windowScale < 0 ? NO_SCALE : windowScale) | (sack ? 16 : 0) | (ecn ? 32 : 0);
  const value = (timestamp & ~OPTION_MASK) | bits;
  // In the past, lest the connection's first own timestamp be older than its SYN-ACK's.
  return ((value - timestamp) | 0) > 0 ? (value - (1 << OPTION_BITS)) | 0 : value;
}

const NO_OPTIONS: CookieOptions = { windowScale: -1, sack: false, ecn: false };

/** RFC 9293 §3.7.1: for a SYN that gives no size. */
function defaultMss(key: FlowKey): number {
  return key.family === 4 ? 536 : 1220;
}

export interface CookieOptions {
  windowScale: number;
  sack: boolean;
  ecn: boolean;
}

export function decodeOptions(echo: number): CookieOptions {
  const scale = echo & 15;
  return {
    windowScale: scale === NO_SCALE ? -1 : scale,
    sack: (echo & 16) !== 0,
    ecn: (echo & 32) !== 0,
  };
}
