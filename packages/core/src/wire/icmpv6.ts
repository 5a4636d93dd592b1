/**
 * ICMPv6 (RFC 4443 §2.1). The checksum covers a pseudo-header, unlike that of ICMP for IPv4.
 *
 *      0               8               16                            31
 *     +---------------+---------------+------------------------------+
 *     |     type      |     code      |           checksum           |   0
 *     +---------------+---------------+------------------------------+
 *     |  echo: identifier, sequence · errors: 0, MTU or a pointer    |   4
 *     +--------------------------------------------------------------+
 *
 * Types below 128 are errors. Neighbour discovery is in `icmpv6-ndp.ts`. Accessors take the offset of the header.
 */

import { get16, get32, put16, put32 } from '../bytes.ts';

export const ICMPV6_HEADER = 8;
export const ICMPV6_CHECKSUM = 2;

export const Icmpv6Type = {
  UNREACHABLE: 1,
  PACKET_TOO_BIG: 2,
  TIME_EXCEEDED: 3,
  PARAMETER_PROBLEM: 4,
  ECHO_REQUEST: 128,
  ECHO_REPLY: 129,
  MLD_QUERY: 130,
  MLD_REPORT: 131,
  MLD_DONE: 132,
  ROUTER_SOLICITATION: 133,
  ROUTER_ADVERTISEMENT: 134,
  NEIGHBOR_SOLICITATION: 135,
  NEIGHBOR_ADVERTISEMENT: 136,
  REDIRECT: 137,
  MLD2_REPORT: 143,
} as const;

/** Codes of `Icmpv6Type.UNREACHABLE` (RFC 4443 §3.1). */
export const Icmpv6Unreachable = {
  NO_ROUTE: 0,
  PROHIBITED: 1,
  BEYOND_SCOPE: 2,
  ADDRESS: 3,
  PORT: 4,
} as const;

/** Codes of `Icmpv6Type.TIME_EXCEEDED`. */
export const Icmpv6TimeExceeded = { TRANSIT: 0, REASSEMBLY: 1 } as const;

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

/** Of "packet too big". */
export function mtu(buf: Uint8Array, off: number): number {
  return get32(buf, off + 4);
}

export function isError(type: number): boolean {
  return type < 128;
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
  put16(buf, off + ICMPV6_CHECKSUM, 0);
  put32(buf, off + 4, rest);
}
