/**
 * UDP header (RFC 768).
 *
 *      0                              16                             31
 *     +------------------------------+-------------------------------+
 *     |          source port         |       destination port        |   0
 *     +------------------------------+-------------------------------+
 *     |            length            |           checksum            |   4
 *     +------------------------------+-------------------------------+
 *
 * Accessors take the offset of the header and check nothing.
 */

import { get16, put16 } from '../bytes.ts';

export const UDP_HEADER = 8;

export const UDP_SRC_PORT = 0;
export const UDP_DST_PORT = 2;
export const UDP_LENGTH = 4;
export const UDP_CHECKSUM = 6;

export function srcPort(buf: Uint8Array, off: number): number {
  return get16(buf, off + UDP_SRC_PORT);
}

export function dstPort(buf: Uint8Array, off: number): number {
  return get16(buf, off + UDP_DST_PORT);
}

/** Header and payload in bytes. */
export function length(buf: Uint8Array, off: number): number {
  return get16(buf, off + UDP_LENGTH);
}

/** 0: the sender made none. */
export function checksum(buf: Uint8Array, off: number): number {
  return get16(buf, off + UDP_CHECKSUM);
}

/** Whether `len` bytes of IP payload hold a datagram: its length field may leave bytes over, never claim more. */
export function isValid(buf: Uint8Array, off: number, len: number): boolean {
  if (len < UDP_HEADER) return false;
  const claimed = length(buf, off);
  return claimed >= UDP_HEADER && claimed <= len;
}

/** Writes the header with a checksum of 0; `length` counts the header. */
export function write(
  buf: Uint8Array,
  off: number,
  srcPort: number,
  dstPort: number,
  length: number,
): void {
  put16(buf, off + UDP_SRC_PORT, srcPort);
  put16(buf, off + UDP_DST_PORT, dstPort);
  put16(buf, off + UDP_LENGTH, length);
  put16(buf, off + UDP_CHECKSUM, 0);
}
