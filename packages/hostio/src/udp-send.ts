/**
 * Sending in batches: datagrams are gathered into runs, one message each for `sendmmsg`. A run goes to one peer with one
 * traffic class; its datagrams are equally long but for the last, which may be shorter, so that UDP_SEGMENT cuts them
 * apart again. Runs leave in the order in which they were begun, so each peer's datagrams keep theirs.
 */

import { copyBytes, put32 } from '@pktkit/core';
import { Arena } from './arena.ts';
import { AF_INET } from './linux.ts';
import {
  CMSG_HEADER,
  IOVEC,
  IP_PKTINFO,
  IP_TOS,
  IPV6_PKTINFO,
  IPV6_TCLASS,
  MMSGHDR,
  MSG_CONTROL,
  MSG_CONTROLLEN,
  MSG_IOV,
  MSG_IOVLEN,
  MSG_NAME,
  MSG_NAMELEN,
  SOL_IP,
  SOL_IPV6,
  SOL_UDP,
  UDP_SEGMENT,
} from './msghdr.ts';
import { MAX_DATAGRAM } from './udp-types.ts';

/** Runs in a batch, datagrams in a run (the kernel's UDP_MAX_SEGMENTS), bytes in a batch. */
const MAX_RUNS = 64;
const MAX_SEGMENTS = 64;
const DATA_BYTES = 512 << 10;

const NAME = 32;
const CONTROL = 112;
const HEADERS_AT = 0;
const NAMES_AT = HEADERS_AT + MAX_RUNS * MMSGHDR;
const CONTROLS_AT = NAMES_AT + MAX_RUNS * NAME;
const IOVECS_AT = CONTROLS_AT + MAX_RUNS * CONTROL;
const DATA_AT = IOVECS_AT + MAX_RUNS * MAX_SEGMENTS * IOVEC;

export class SendBatch {
  readonly arena: Arena = new Arena(DATA_AT + DATA_BYTES);
  /** Runs begun; the next one to send is `sent`. */
  runs = 0;
  sent = 0;
  /** Of each run: the peer's handle, traffic class, bytes per datagram, datagrams, bytes, iovecs, and room for more. */
  readonly peer: Int32Array = new Int32Array(MAX_RUNS);
  readonly tos: Int16Array = new Int16Array(MAX_RUNS);
  readonly segment: Uint16Array = new Uint16Array(MAX_RUNS);
  readonly count: Uint8Array = new Uint8Array(MAX_RUNS);
  readonly bytes: Uint32Array = new Uint32Array(MAX_RUNS);
  readonly #iovecs: Uint8Array = new Uint8Array(MAX_RUNS);
  readonly #isOpen: Uint8Array = new Uint8Array(MAX_RUNS);
  #used = 0;

  constructor() {
    const { arena } = this;
    for (let run = 0; run < MAX_RUNS; run++) {
      const header = HEADERS_AT + run * MMSGHDR;
      arena.putU64(header + MSG_NAME, arena.base + NAMES_AT + run * NAME);
      arena.putU64(header + MSG_IOV, arena.base + IOVECS_AT + run * MAX_SEGMENTS * IOVEC);
      arena.putU64(header + MSG_CONTROL, arena.base + CONTROLS_AT + run * CONTROL);
    }
  }

  /** Whether a datagram of `len` bytes fits behind what is there, in a run of its own if need be. */
  hasRoom(len: number): boolean {
    return this.#used + len <= DATA_BYTES && this.runs < MAX_RUNS;
  }

  /** Adds to a run if it takes a datagram of this length for this peer; false when it does not. */
  append(
    run: number,
    peer: number,
    tos: number,
    buf: Uint8Array,
    off: number,
    len: number,
  ): boolean {
    if (
      run < this.sent ||
      run >= this.runs ||
      this.#isOpen[run] === 0 ||
      this.peer[run] !== peer ||
      this.tos[run] !== tos ||
      len > this.segment[run] ||
      this.#used + len > DATA_BYTES ||
      this.bytes[run] + len > MAX_DATAGRAM
    ) {
      return false;
    }
    const count = ++this.count[run];
    this.bytes[run] += len;
    if (len < this.segment[run] || count === MAX_SEGMENTS) this.#isOpen[run] = 0;
    this.#put(run, buf, off, len);
    return true;
  }

  /** Begins a run, whose name and control data the caller writes. `single` ones take no second datagram. */
  begin(
    peer: number,
    tos: number,
    single: boolean,
    buf: Uint8Array,
    off: number,
    len: number,
  ): number {
    const run = this.runs++;
    this.peer[run] = peer;
    this.tos[run] = tos;
    this.segment[run] = len;
    this.count[run] = 1;
    this.bytes[run] = len;
    this.#iovecs[run] = 0;
    // A segment size of zero means none.
    this.#isOpen[run] = single || len === 0 ? 0 : 1;
    this.#put(run, buf, off, len);
    return run;
  }

  nameAt(run: number): number {
    return NAMES_AT + run * NAME;
  }

  setNameLength(run: number, length: number): void {
    this.arena.u32[(HEADERS_AT + run * MMSGHDR + MSG_NAMELEN) >>> 2] = length;
  }

  /** Address of the message headers from `run` on. */
  address(run: number): number {
    return this.arena.base + HEADERS_AT + run * MMSGHDR;
  }

  /** Writes a run's control messages; `local` are the words of the source address when `index` is not 0. */
  finish(run: number, family: number, local: Int32Array, localAt: number, index: number): void {
    const { arena } = this;
    const { u32 } = arena;
    const header = HEADERS_AT + run * MMSGHDR;
    const start = CONTROLS_AT + run * CONTROL;
    let at = start;
    if (this.count[run] > 1) {
      at = this.#control(at, SOL_UDP, UDP_SEGMENT, 2);
      u32[(at - 8) >>> 2] = this.segment[run];
    }
    const tos = this.tos[run];
    if (tos >= 0) {
      // The kernel looks at the one of the family that it sends; a mapped address makes it IPv4.
      at = this.#control(at, SOL_IP, IP_TOS, 4);
      u32[(at - 8) >>> 2] = tos;
      if (family !== AF_INET) {
        at = this.#control(at, SOL_IPV6, IPV6_TCLASS, 4);
        u32[(at - 8) >>> 2] = tos;
      }
    }
    if (index !== 0) {
      if (family === AF_INET) {
        at = this.#control(at, SOL_IP, IP_PKTINFO, 12);
        u32[(at - 16) >>> 2] = 0;
        put32(arena.bytes, at - 12, local[localAt + 3]);
        u32[(at - 8) >>> 2] = 0;
      } else {
        at = this.#control(at, SOL_IPV6, IPV6_PKTINFO, 20);
        for (let i = 0; i < 4; i++) put32(arena.bytes, at - 24 + i * 4, local[localAt + i]);
        // The interface matters for link-local addresses only, and binds the route otherwise.
        u32[(at - 8) >>> 2] = local[localAt] >>> 22 === 0x3fa ? index : 0;
      }
    }
    u32[(header + MSG_IOVLEN) >>> 2] = this.#iovecs[run];
    u32[(header + MSG_CONTROLLEN) >>> 2] = at - start;
  }

  /** Where the datagram `index` of a run lies. */
  segmentAt(run: number, index: number): number {
    let skip = index * this.segment[run];
    for (let i = 0; i < this.#iovecs[run]; i++) {
      const at = IOVECS_AT + (run * MAX_SEGMENTS + i) * IOVEC;
      const length = this.arena.u32[(at + 8) >>> 2];
      if (skip < length) return this.#offset(at) + skip;
      skip -= length;
    }
    throw new RangeError(`run ${run} has no datagram ${index}`);
  }

  segmentLength(run: number, index: number): number {
    const segment = this.segment[run];
    return Math.min(segment, this.bytes[run] - index * segment);
  }

  clear(): void {
    this.runs = 0;
    this.sent = 0;
    this.#used = 0;
  }

  #put(run: number, buf: Uint8Array, off: number, len: number): void {
    const { arena } = this;
    const at = DATA_AT + this.#used;
    this.#used += len;
    copyBytes(arena.bytes, at, buf, off, len);
    const iovecs = this.#iovecs[run];
    const iovec = IOVECS_AT + (run * MAX_SEGMENTS + iovecs) * IOVEC;
    // Consecutive datagrams of one run, the common case, share an iovec.
    if (iovecs > 0) {
      const lengthAt = (iovec - IOVEC + 8) >>> 2;
      if (this.#offset(iovec - IOVEC) + arena.u32[lengthAt] === at) {
        arena.u32[lengthAt] += len;
        return;
      }
    }
    arena.putU64(iovec, arena.base + at);
    arena.putU64(iovec + 8, len);
    this.#iovecs[run] = iovecs + 1;
  }

  #offset(iovec: number): number {
    const { u32, base } = this.arena;
    return u32[(iovec + 4) >>> 2] * 0x100000000 + u32[iovec >>> 2] - base;
  }

  /** Writes a control header; gives the place behind the padded data. */
  #control(at: number, level: number, type: number, length: number): number {
    const { u32 } = this.arena;
    u32[at >>> 2] = CMSG_HEADER + length;
    u32[(at + 4) >>> 2] = 0;
    u32[(at + 8) >>> 2] = level;
    u32[(at + 12) >>> 2] = type;
    return at + CMSG_HEADER + ((length + 7) & ~7);
  }
}
