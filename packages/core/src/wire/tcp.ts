/**
 * TCP header (RFC 9293 §3.1).
 *
 *      0       4               10         16                         31
 *     +------------------------------+-------------------------------+
 *     |          source port         |       destination port        |   0
 *     +------------------------------+-------------------------------+
 *     |                        sequence number                       |   4
 *     +--------------------------------------------------------------+
 *     |                    acknowledgement number                    |   8
 *     +-------+----+-----------------+-------------------------------+
 *     | offset| 0  |C E U A P R S F  |            window             |  12
 *     +-------+----+-----------------+-------------------------------+
 *     |           checksum           |        urgent pointer         |  16
 *     +------------------------------+-------------------------------+
 *
 * Accessors take the offset of the header and check nothing. Sequence numbers are signed 32-bit patterns.
 */

import { get16, getInt32, put16, put32 } from '../bytes.ts';

export const TCP_HEADER = 20;
export const TCP_MAX_HEADER = 60;

export const TCP_SRC_PORT = 0;
export const TCP_DST_PORT = 2;
export const TCP_SEQ = 4;
export const TCP_ACK = 8;
export const TCP_DATA_OFFSET = 12;
export const TCP_FLAGS = 13;
export const TCP_WINDOW = 14;
export const TCP_CHECKSUM = 16;
export const TCP_URGENT = 18;

export const TcpFlag = {
  FIN: 0x01,
  SYN: 0x02,
  RST: 0x04,
  PSH: 0x08,
  ACK: 0x10,
  URG: 0x20,
  ECE: 0x40,
  CWR: 0x80,
} as const;

export function srcPort(buf: Uint8Array, off: number): number {
  return get16(buf, off + TCP_SRC_PORT);
}

export function dstPort(buf: Uint8Array, off: number): number {
  return get16(buf, off + TCP_DST_PORT);
}

export function seq(buf: Uint8Array, off: number): number {
  return getInt32(buf, off + TCP_SEQ);
}

export function ack(buf: Uint8Array, off: number): number {
  return getInt32(buf, off + TCP_ACK);
}

/** Bytes of header, options included: 20 to 60 in a valid segment. */
export function headerLen(buf: Uint8Array, off: number): number {
  return (buf[off + TCP_DATA_OFFSET] >>> 4) * 4;
}

/** `TcpFlag` bits. */
export function flags(buf: Uint8Array, off: number): number {
  return buf[off + TCP_FLAGS];
}

/** As on the wire: not scaled. */
export function window(buf: Uint8Array, off: number): number {
  return get16(buf, off + TCP_WINDOW);
}

export function checksum(buf: Uint8Array, off: number): number {
  return get16(buf, off + TCP_CHECKSUM);
}

/** Whether `len` bytes of IP payload hold a whole header. */
export function isValid(buf: Uint8Array, off: number, len: number): boolean {
  if (len < TCP_HEADER) return false;
  const header = headerLen(buf, off);
  return header >= TCP_HEADER && header <= len;
}

/** Writes the 20 fixed bytes with checksum and urgent pointer 0. `headerLen` counts the options, which follow. */
export function write(
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
  put16(buf, off + TCP_SRC_PORT, srcPort);
  put16(buf, off + TCP_DST_PORT, dstPort);
  put32(buf, off + TCP_SEQ, seq);
  put32(buf, off + TCP_ACK, ack);
  buf[off + TCP_DATA_OFFSET] = headerLen << 2;
  buf[off + TCP_FLAGS] = flags;
  put16(buf, off + TCP_WINDOW, window);
  put32(buf, off + TCP_CHECKSUM, 0);
}
