/**
 * The TCP header (RFC 9293 §3.1), read and written at an offset.
 *
 *      0               8               16                             31
 *     +-------------------------------+-------------------------------+
 *     |          source port          |       destination port        |   0
 *     +-------------------------------+-------------------------------+
 *     |                        sequence number                        |   4
 *     +---------------------------------------------------------------+
 *     |                    acknowledgement number                     |   8
 *     +-------+-------+---------------+-------------------------------+
 *     | offset| rsvd  |C E U A P R S F|            window             |  12
 *     +-------+-------+---------------+-------------------------------+
 *     |           checksum            |        urgent pointer         |  16
 *     +-------------------------------+-------------------------------+
 */

import { get16, getInt32, put16, put32 } from '@pktkit/core';
import { OPTION_SACK_BLOCKS_MAX, parseOptions } from './options.ts';

export const TCP_HEADER = 20;

export const FIN = 0x01;
export const SYN = 0x02;
export const RST = 0x04;
export const PSH = 0x08;
export const ACK = 0x10;
export const URG = 0x20;
export const ECE = 0x40;
export const CWR = 0x80;

/** A parsed header with its options. One object is refilled for every segment; nobody keeps it. */
export class Segment {
  buf: Uint8Array = EMPTY;
  srcPort = 0;
  dstPort = 0;
  seq = 0;
  ack = 0;
  flags = 0;
  /** As on the wire, not scaled. */
  window = 0;
  dataOff = 0;
  dataLen = 0;
  /** Payload of one wire segment when this is a super-segment, else `dataLen`. */
  unit = 0;
  /** The IP header's two ECN bits (RFC 3168 §5). */
  ecn = 0;

  // Options; -1 or 0 when absent.
  mss = 0;
  windowScale = -1;
  sackPermitted = false;
  hasTimestamp = false;
  tsVal = 0;
  tsEcr = 0;
  sackCount = 0;
  /** Start and end of each SACK block. */
  readonly sack: Int32Array = new Int32Array(2 * OPTION_SACK_BLOCKS_MAX);

  /** Reads a segment of `len` bytes at `off`. False when it is shorter than its header says. */
  parse(buf: Uint8Array, off: number, len: number): boolean {
    if (len < TCP_HEADER) return false;
    const header = (buf[off + 12] >>> 4) * 4;
    if (header < TCP_HEADER || header > len) return false;
    this.buf = buf;
    this.srcPort = get16(buf, off);
    this.dstPort = get16(buf, off + 2);
    this.seq = getInt32(buf, off + 4);
    this.ack = getInt32(buf, off + 8);
    this.flags = buf[off + 13];
    this.window = get16(buf, off + 14);
    this.dataOff = off + header;
    this.dataLen = this.unit = len - header;
    this.mss = 0;
    this.windowScale = -1;
    this.sackPermitted = false;
    this.hasTimestamp = false;
    this.sackCount = 0;
    if (header > TCP_HEADER) parseOptions(this, buf, off + TCP_HEADER, off + header);
    return true;
  }

  /** Sequence space that it takes: payload, and one each for SYN and FIN. */
  get length(): number {
    return this.dataLen + ((this.flags >>> 1) & 1) + (this.flags & 1);
  }
}

const EMPTY = new Uint8Array(0);

/** Writes the fixed header with a zero checksum; `headerLen` includes options, which the caller writes. */
export function writeHeader(
  buf: Uint8Array,
  off: number,
  srcPort: number,
  dstPort: number,
  seq: number,
  ack: number,
  headerLen: number,
  flags: number,
  window: number,
): void {
  put16(buf, off, srcPort);
  put16(buf, off + 2, dstPort);
  put32(buf, off + 4, seq);
  put32(buf, off + 8, ack);
  buf[off + 12] = headerLen << 2;
  buf[off + 13] = flags;
  put16(buf, off + 14, window);
  put32(buf, off + 16, 0);
}
