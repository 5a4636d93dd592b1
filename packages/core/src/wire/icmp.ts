/**
 * ICMP for IPv4 (RFC 792, RFC 1122 §3.2.2).
 *
 *      0               8               16                            31
 *     +---------------+---------------+------------------------------+
 *     |     type      |     code      |           checksum           |   0
 *     +---------------+---------------+------------------------------+
 *     |  echo: identifier, sequence · errors: 0, or the next-hop MTU |   4
 *     +--------------------------------------------------------------+
 *     |  echo: data · errors: the offending packet's first bytes     |   8
 *
 * Accessors take the offset of the header and check nothing.
 */

import { get16, put16, put32 } from '../bytes.ts';

export const ICMP_HEADER = 8;
export const ICMP_CHECKSUM = 2;

export const IcmpType = {
  ECHO_REPLY: 0,
  UNREACHABLE: 3,
  SOURCE_QUENCH: 4,
  REDIRECT: 5,
  ECHO_REQUEST: 8,
  TIME_EXCEEDED: 11,
  PARAMETER_PROBLEM: 12,
  TIMESTAMP_REQUEST: 13,
  TIMESTAMP_REPLY: 14,
} as const;

/** Codes of `IcmpType.UNREACHABLE` (RFC 792, RFC 1812 §5.2.7.1). */
export const IcmpUnreachable = {
  NETWORK: 0,
  HOST: 1,
  PROTOCOL: 2,
  PORT: 3,
  FRAGMENTATION_NEEDED: 4,
  PROHIBITED: 13,
} as const;

/** Codes of `IcmpType.TIME_EXCEEDED`. */
export const IcmpTimeExceeded = { TRANSIT: 0, REASSEMBLY: 1 } as const;

export function type(buf: Uint8Array, off: number): number {
  return buf[off];
}

export function code(buf: Uint8Array, off: number): number {
  return buf[off + 1];
}

/** Of an echo message. */
export function id(buf: Uint8Array, off: number): number {
  return get16(buf, off + 4);
}

/** Of an echo message. */
export function seq(buf: Uint8Array, off: number): number {
  return get16(buf, off + 6);
}

/** The next hop's MTU in "fragmentation needed" (RFC 1191 §4); 0 from routers that do not know of it. */
export function nextHopMtu(buf: Uint8Array, off: number): number {
  return get16(buf, off + 6);
}

/** Errors are answered with nothing, so that two hosts never answer each other for ever (RFC 1122 §3.2.2). */
export function isError(type: number): boolean {
  return (
    type === IcmpType.UNREACHABLE ||
    type === IcmpType.SOURCE_QUENCH ||
    type === IcmpType.REDIRECT ||
    type === IcmpType.TIME_EXCEEDED ||
    type === IcmpType.PARAMETER_PROBLEM
  );
}

/** Writes the header with a checksum of 0; `rest` is the second 32-bit word. */
export function write(
  buf: Uint8Array,
  off: number,
  type: number,
  code: number,
  rest: number,
): void {
  buf[off] = type;
  buf[off + 1] = code;
  put16(buf, off + ICMP_CHECKSUM, 0);
  put32(buf, off + 4, rest);
}
