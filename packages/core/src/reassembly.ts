/**
 * Putting fragments together again: RFC 791 §3.2 and RFC 815 for IPv4, RFC 8200 §4.5, RFC 5722 and RFC 6946 for IPv6.
 *
 * Fragments are copied in and the whole packet comes out. A fragment that overlaps another makes the whole datagram void, in
 * both families: no honest sender makes one, and filters have been passed with them. An exact repetition is ignored. What
 * has become void stays so until its time is over, so that its other fragments do not start it afresh.
 *
 * Bounds: datagrams, bytes, datagrams of one source (a part of the first, so that nobody can lock others out), fragments of
 * one datagram, time. A datagram too many takes the place of the oldest one; of its own source, when that is at its bound.
 */

import { copyBytes, get16, getInt32, put16 } from './bytes.ts';
import { checksum } from './checksum.ts';
import type { Clock, Timer } from './clock.ts';
import { hashSecret, hashWord, spread } from './hash.ts';
import { Packet } from './packet.ts';
import { HEADROOM, TAILROOM } from './pool.ts';
import { type Random32, random32 } from './random.ts';
import { IPV4_MF, IPV4_OFFSET_MASK, IpProtocol } from './wire/ipv4.ts';
import { IPV6_FRAGMENT_HEADER, IPV6_HEADER } from './wire/ipv6.ts';

export interface ReassemblerOptions {
  clock: Clock;
  random?: Random32 | undefined;
  /** Datagrams at a time: 256. */
  maxDatagrams?: number | undefined;
  /** Bytes held: 4 MiB. */
  maxBytes?: number | undefined;
  /** Datagrams of one source at a time: 32. */
  maxPerSource?: number | undefined;
  /** Milliseconds: 30,000 for IPv4, 60,000 for IPv6 (RFC 8200 §4.5). */
  timeout4?: number | undefined;
  timeout6?: number | undefined;
  /**
   * Time is over and the first fragment was there: the place for an ICMP "time exceeded" (RFC 792, RFC 8200 §4.5). The
   * packet is that fragment and belongs to the callee.
   */
  onTimeout?: ((first: Packet) => void) | undefined;
}

export interface ReassemblerStats {
  fragments: number;
  reassembled: number;
  timedOut: number;
  /** Datagrams that gave way to newer ones. */
  evicted: number;
  /** Fragments of datagrams made void by an overlap or a contradiction about their end. */
  dropOverlap: number;
  /** A length that is no multiple of 8, or an end beyond 65,535 bytes. */
  dropMalformed: number;
  /** More fragments than any sender makes. */
  dropTooMany: number;
}

interface Piece {
  /** Within the payload. */
  from: number;
  to: number;
  data: Uint8Array;
}

class Datagram {
  readonly hash: number;
  readonly source: number;
  /** The fields that name it, to tell it from others with its hash. */
  readonly name: Uint8Array;
  readonly deadline: number;
  pieces: Piece[] = [];
  /** Headers of the first fragment; null until it is there. */
  head: Uint8Array | null = null;
  /** Payload length; -1 until the last fragment is there. */
  total = -1;
  held = 0;
  bytes = 0;
  isVoid = false;

  constructor(hash: number, source: number, name: Uint8Array, deadline: number) {
    this.hash = hash;
    this.source = source;
    this.name = name;
    this.deadline = deadline;
  }
}

const MAX_PIECES = 256;
/** What a piece costs beside its bytes, so that many small ones count. */
const PIECE_COST = 64;

export class Reassembler {
  readonly stats: ReassemblerStats = {
    fragments: 0,
    reassembled: 0,
    timedOut: 0,
    evicted: 0,
    dropOverlap: 0,
    dropMalformed: 0,
    dropTooMany: 0,
  };
  readonly #clock: Clock;
  readonly #secret: Int32Array;
  readonly #options: ReassemblerOptions;
  readonly #maxDatagrams: number;
  readonly #maxBytes: number;
  readonly #maxPerSource: number;
  /** By hash and in order of age: a `Map` keeps the order of insertion. One datagram per hash, which is secret. */
  readonly #datagrams: Map<number, Datagram> = new Map();
  readonly #perSource: Map<number, number> = new Map();
  readonly #timer: Timer;
  #bytes = 0;

  constructor(options: ReassemblerOptions) {
    this.#clock = options.clock;
    this.#options = options;
    this.#secret = hashSecret(9, options.random ?? random32);
    this.#maxDatagrams = options.maxDatagrams ?? 256;
    this.#maxBytes = options.maxBytes ?? 4 * 1024 * 1024;
    this.#maxPerSource = options.maxPerSource ?? 32;
    this.#timer = this.#clock.timer(() => this.#expire());
  }

  /** Datagrams and bytes under way. */
  get size(): number {
    return this.#datagrams.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Takes a packet whose length has been checked. One that is no fragment comes back as it is; a fragment that completes its
   * datagram gives the whole packet, which the caller owns and which has headroom; null otherwise.
   */
  add(packet: Packet): Packet | null {
    if (!packet.isFragment) return packet;
    this.stats.fragments++;
    return packet.version === 4 ? this.#add4(packet) : this.#add6(packet);
  }

  /** Forgets everything. */
  clear(): void {
    this.#datagrams.clear();
    this.#perSource.clear();
    this.#bytes = 0;
    this.#timer.cancel();
  }

  #add4(packet: Packet): Packet | null {
    const { buf, off, len } = packet;
    const header = packet.headerLen;
    const flags = get16(buf, off + 6);
    // RFC 791: source, destination, protocol and identification name a datagram.
    const name = new Uint8Array(12);
    copyBytes(name, 0, buf, off + 12, 8);
    copyBytes(name, 8, buf, off + 4, 2);
    name[10] = buf[off + 9];
    const from = (flags & IPV4_OFFSET_MASK) * 8;
    const timeout = this.#options.timeout4 ?? 30_000;
    const source = spread(hashWord(this.#secret, 0, getInt32(buf, off + 12)));
    const datagram = this.#datagram(name, source, timeout);
    const more = (flags & IPV4_MF) !== 0;
    return this.#insert(datagram, packet, header, header, from, len - header, more);
  }

  #add6(packet: Packet): Packet | null {
    const { buf, off, len } = packet;
    const at = packet.transport & 0xffff;
    const head = at + IPV6_FRAGMENT_HEADER;
    if (head > len) {
      this.stats.dropMalformed++;
      return null;
    }
    // RFC 8200 §4.5: source, destination and identification.
    const name = new Uint8Array(36);
    copyBytes(name, 0, buf, off + 8, 32);
    copyBytes(name, 32, buf, off + at + 4, 4);
    let source = 0;
    for (let i = 0; i < 4; i++) source += hashWord(this.#secret, i, getInt32(buf, off + 8 + i * 4));
    source = spread(source);
    const word = get16(buf, off + at + 2);
    const datagram = this.#datagram(name, source, this.#options.timeout6 ?? 60_000);
    return this.#insert(datagram, packet, at, head, word & 0xfff8, len - head, (word & 1) !== 0);
  }

  #datagram(name: Uint8Array, source: number, timeout: number): Datagram {
    let hash = 0;
    for (let i = 0; i < name.length; i += 4) {
      hash = (hash + hashWord(this.#secret, i >> 2, getInt32(name, i))) | 0;
    }
    hash = spread(hash);
    const known = this.#datagrams.get(hash);
    if (known !== undefined) {
      if (sameBytes(known.name, name)) return known;
      this.#evict(known);
    }
    const count = this.#perSource.get(source) ?? 0;
    if (count >= this.#maxPerSource) this.#evictOldest(source);
    else if (this.#datagrams.size >= this.#maxDatagrams) this.#evictOldest(null);
    const deadline = this.#clock.now + timeout;
    const datagram = new Datagram(hash, source, name, deadline);
    this.#datagrams.set(hash, datagram);
    this.#perSource.set(source, (this.#perSource.get(source) ?? 0) + 1);
    if (deadline < this.#timer.deadline) this.#timer.arm(deadline);
    return datagram;
  }

  #insert(
    datagram: Datagram,
    packet: Packet,
    headLen: number,
    payloadAt: number,
    from: number,
    size: number,
    more: boolean,
  ): Packet | null {
    if (datagram.isVoid) {
      this.stats.dropOverlap++;
      return null;
    }
    const to = from + size;
    const fixed = packet.version === 4 ? headLen : headLen - IPV6_HEADER;
    if (size === 0 || (more && (size & 7) !== 0) || fixed + to > 65535) {
      this.stats.dropMalformed++;
      return null;
    }
    const at = placeFor(datagram, from);
    const before = datagram.pieces[at - 1];
    const after = datagram.pieces[at];
    const same = after !== undefined && after.from === from && after.to === to;
    if (same && sameBytesAt(after.data, packet.buf, packet.off + payloadAt)) return null;
    const beyondEnd = datagram.total >= 0 && (more ? to > datagram.total : to !== datagram.total);
    const last = datagram.pieces[datagram.pieces.length - 1];
    const endsInside = !more && last !== undefined && last.to > to;
    const overlaps =
      (before !== undefined && before.to > from) || (after !== undefined && after.from < to);
    if (overlaps || beyondEnd || endsInside) {
      this.stats.dropOverlap++;
      this.#makeVoid(datagram);
      return null;
    }
    if (datagram.pieces.length >= MAX_PIECES) {
      this.stats.dropTooMany++;
      this.#makeVoid(datagram);
      return null;
    }
    const start = packet.off + payloadAt;
    const data = packet.buf.slice(start, start + size);
    datagram.pieces.splice(at, 0, { from, to, data });
    datagram.held += size;
    if (!more) datagram.total = to;
    if (from === 0) datagram.head = packet.buf.slice(packet.off, packet.off + payloadAt);
    this.#account(datagram, size + PIECE_COST + (from === 0 ? payloadAt : 0));
    if (datagram.total === datagram.held && datagram.head !== null) {
      this.#remove(datagram);
      return this.#assemble(datagram, datagram.head);
    }
    // The one that is being filled is spared: it alone is within the bound.
    for (const oldest of this.#datagrams.values()) {
      if (this.#bytes <= this.#maxBytes) break;
      if (oldest !== datagram) this.#evict(oldest);
    }
    return null;
  }

  #assemble(datagram: Datagram, head: Uint8Array): Packet | null {
    const v4 = head[0] >>> 4 === 4;
    const headLen = v4 ? head.length : head.length - IPV6_FRAGMENT_HEADER;
    const len = headLen + datagram.total;
    if (len - (v4 ? 0 : IPV6_HEADER) > 65535) {
      this.stats.dropMalformed++;
      return null;
    }
    const out = new Uint8Array(HEADROOM + len + TAILROOM);
    copyBytes(out, HEADROOM, head, 0, headLen);
    for (const { from, data } of datagram.pieces) out.set(data, HEADROOM + headLen + from);
    if (v4) {
      put16(out, HEADROOM + 2, len);
      put16(out, HEADROOM + 6, 0);
      put16(out, HEADROOM + 10, 0);
      put16(out, HEADROOM + 10, checksum(out, HEADROOM, headLen));
    } else {
      put16(out, HEADROOM + 4, len - IPV6_HEADER);
      // The header in front named the fragment header as next; now it names what that one did.
      out[HEADROOM + nextHeaderField(head, headLen)] = head[headLen];
    }
    this.stats.reassembled++;
    return new Packet(out, HEADROOM, len);
  }

  #account(datagram: Datagram, bytes: number): void {
    datagram.bytes += bytes;
    this.#bytes += bytes;
  }

  /** Keeps the name until the time is over, and nothing else. */
  #makeVoid(datagram: Datagram): void {
    datagram.isVoid = true;
    datagram.pieces = [];
    datagram.head = null;
    this.#bytes -= datagram.bytes;
    datagram.bytes = 0;
  }

  #evictOldest(source: number | null): void {
    for (const datagram of this.#datagrams.values()) {
      if (source !== null && datagram.source !== source) continue;
      this.#evict(datagram);
      return;
    }
  }

  #evict(datagram: Datagram): void {
    this.stats.evicted++;
    this.#remove(datagram);
  }

  #remove(datagram: Datagram): void {
    this.#datagrams.delete(datagram.hash);
    this.#bytes -= datagram.bytes;
    datagram.bytes = 0;
    const count = (this.#perSource.get(datagram.source) ?? 1) - 1;
    if (count > 0) this.#perSource.set(datagram.source, count);
    else this.#perSource.delete(datagram.source);
  }

  #expire(): void {
    const { now } = this.#clock;
    for (const datagram of [...this.#datagrams.values()]) {
      if (datagram.deadline > now) continue;
      this.#remove(datagram);
      if (datagram.isVoid) continue;
      this.stats.timedOut++;
      const { head } = datagram;
      const first = datagram.pieces[0];
      if (head === null || this.#options.onTimeout === undefined) continue;
      const bytes = new Uint8Array(HEADROOM + head.length + first.data.length);
      bytes.set(head, HEADROOM);
      bytes.set(first.data, HEADROOM + head.length);
      this.#options.onTimeout(new Packet(bytes, HEADROOM, head.length + first.data.length));
    }
    let next = Number.POSITIVE_INFINITY;
    for (const { deadline } of this.#datagrams.values()) next = Math.min(next, deadline);
    if (next < Number.POSITIVE_INFINITY) this.#timer.arm(next);
  }
}

/** Where a piece that starts at `from` belongs: fragments mostly come in order, so from the end. */
function placeFor(datagram: Datagram, from: number): number {
  const { pieces } = datagram;
  let at = pieces.length;
  while (at > 0 && pieces[at - 1].from >= from) at--;
  return at;
}

/** The offset of the field that names the header at `end`. */
function nextHeaderField(head: Uint8Array, end: number): number {
  let field = 6;
  let at = IPV6_HEADER;
  while (at < end) {
    const size = head[field] === IpProtocol.AH ? (head[at + 1] + 2) * 4 : (head[at + 1] + 1) * 8;
    field = at;
    at += size;
  }
  return field;
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && sameBytesAt(a, b, 0);
}

function sameBytesAt(a: Uint8Array, b: Uint8Array, off: number): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[off + i]) return false;
  return true;
}
