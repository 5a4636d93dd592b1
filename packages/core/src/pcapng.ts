/**
 * Captures in the format of Wireshark (pcapng, draft-ietf-opsawg-pcapng): section, interface, enhanced packet and
 * statistics blocks, little-endian, time stamps in nanoseconds.
 *
 *      0                              4                               8
 *     +------------------------------+-------------------------------+
 *     |          block type          |         total length          |
 *     +------------------------------+-------------------------------+
 *     |  body, padded to 32 bits …                                   |
 *     |  options: code (2), length (2), value padded to 32 bits …    |
 *     +------------------------------+-------------------------------+
 *     |         total length         |
 *     +------------------------------+
 */

import { utf8 } from './platform.ts';

/** Takes the file's bytes, block by block, in order. The array is the receiver's to keep. */
export type PcapSink = (block: Uint8Array) => void;

export const LINKTYPE_ETHERNET = 1;
/** Packets that begin with their IPv4 or IPv6 header. */
export const LINKTYPE_RAW = 101;

/** Bits 0 and 1 of a packet's flags (§4.3.1). */
export const Direction = { UNKNOWN: 0, INBOUND: 1, OUTBOUND: 2 } as const;
export type Direction = (typeof Direction)[keyof typeof Direction];

const SECTION = 0x0a0d0d0a;
const INTERFACE = 1;
const STATISTICS = 5;
const ENHANCED_PACKET = 6;

const OPT_COMMENT = 1;
const SHB_USERAPPL = 4;
const IF_NAME = 2;
const IF_TSRESOL = 9;
const EPB_FLAGS = 2;
const EPB_DROPCOUNT = 4;
const ISB_IFRECV = 4;
const ISB_IFDROP = 5;

export class PcapngWriter {
  readonly #sink: PcapSink;
  #interfaces = 0;

  /** Writes the section header at once. */
  constructor(sink: PcapSink, options: { comment?: string | undefined } = {}) {
    this.#sink = sink;
    const block = new Block(SECTION);
    block.u32(0x1a2b3c4d); // tells the byte order
    block.u16(1);
    block.u16(0);
    block.u32(0xffffffff); // the section's length is not known yet
    block.u32(0xffffffff);
    if (options.comment !== undefined) block.option(OPT_COMMENT, utf8(options.comment));
    block.option(SHB_USERAPPL, utf8('pktkit'));
    this.#sink(block.end());
  }

  /** Declares an interface and gives its number. `snaplen` 0 stands for whole packets. */
  addInterface(linkType: number, name: string, snaplen = 0): number {
    const block = new Block(INTERFACE);
    block.u16(linkType);
    block.u16(0);
    block.u32(snaplen);
    block.option(IF_NAME, utf8(name));
    block.option(IF_TSRESOL, Uint8Array.of(9)); // 10^-9 s
    this.#sink(block.end());
    return this.#interfaces++;
  }

  /**
   * Writes `captured` bytes of a packet of `length`. `wall` is in milliseconds since 1970, with fractions. `dropped` counts
   * packets that were lost since the one before on this interface.
   */
  packet(
    id: number,
    wall: number,
    buf: Uint8Array,
    off: number,
    captured: number,
    length: number,
    direction: Direction = Direction.UNKNOWN,
    dropped = 0,
    comment = '',
  ): void {
    const block = new Block(ENHANCED_PACKET, captured + comment.length * 3 + 96);
    block.u32(id);
    block.time(wall);
    block.u32(captured);
    block.u32(length);
    block.bytes(buf, off, captured);
    if (direction !== Direction.UNKNOWN) block.option(EPB_FLAGS, u32le(direction));
    if (dropped > 0) block.option(EPB_DROPCOUNT, u64le(dropped));
    if (comment !== '') block.option(OPT_COMMENT, utf8(comment));
    this.#sink(block.end());
  }

  /** Writes the interface's totals: what it has seen, and what of that is missing in the capture. */
  statistics(id: number, wall: number, received: number, dropped: number): void {
    const block = new Block(STATISTICS);
    block.u32(id);
    block.time(wall);
    block.option(ISB_IFRECV, u64le(received));
    block.option(ISB_IFDROP, u64le(dropped));
    this.#sink(block.end());
  }
}

class Block {
  #bytes: Uint8Array;
  #view: DataView;
  #at = 8;
  #options = false;

  constructor(type: number, size = 256) {
    this.#bytes = new Uint8Array(size);
    this.#view = new DataView(this.#bytes.buffer);
    this.#view.setUint32(0, type, true);
  }

  u16(value: number): void {
    this.#reserve(2);
    this.#view.setUint16(this.#at, value, true);
    this.#at += 2;
  }

  u32(value: number): void {
    this.#reserve(4);
    this.#view.setUint32(this.#at, value, true);
    this.#at += 4;
  }

  /** Nanoseconds in two halves, the upper first (§4.3). */
  time(wall: number): void {
    const ms = Math.floor(wall);
    const ns = BigInt(ms) * 1_000_000n + BigInt(Math.round((wall - ms) * 1e6));
    this.u32(Number(ns >> 32n));
    this.u32(Number(ns & 0xffffffffn));
  }

  bytes(buf: Uint8Array, off: number, len: number): void {
    const padded = (len + 3) & ~3;
    this.#reserve(padded);
    this.#bytes.set(buf.subarray(off, off + len), this.#at);
    this.#at += padded;
  }

  option(code: number, value: Uint8Array): void {
    this.#options = true;
    const len = Math.min(value.length, 0xffff);
    this.u16(code);
    this.u16(len);
    this.bytes(value, 0, len);
  }

  /** The finished block. */
  end(): Uint8Array {
    if (this.#options) this.u32(0); // opt_endofopt
    const total = this.#at + 4;
    this.u32(total);
    this.#view.setUint32(4, total, true);
    return this.#bytes.subarray(0, total);
  }

  #reserve(more: number): void {
    if (this.#at + more <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#at + more));
    larger.set(this.#bytes);
    this.#bytes = larger;
    this.#view = new DataView(larger.buffer);
  }
}

function u32le(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

function u64le(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  return bytes;
}
