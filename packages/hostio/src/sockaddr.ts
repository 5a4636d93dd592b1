/** `struct sockaddr_in` and `sockaddr_in6` in an arena. Port and address are in the network's order. */

import { get16, getInt32, IpAddr, put16, put32, V4_MAPPED_WORD } from '@pktkit/core';
import type { Arena } from './arena.ts';
import { AF_INET, AF_INET6 } from './linux.ts';

/** Room for either. */
export const SOCKADDR_SIZE = 28;

/** Writes an address for a socket of `family`; gives its length. IPv4 goes mapped into an IPv6 socket. */
export function writeSockaddr(
  arena: Arena,
  at: number,
  family: number,
  w0: number,
  w1: number,
  w2: number,
  w3: number,
  port: number,
  zone: number,
): number {
  const { bytes, view } = arena;
  view.setUint16(at, family, true);
  put16(bytes, at + 2, port);
  if (family === AF_INET) {
    put32(bytes, at + 4, w3);
    put32(bytes, at + 8, 0);
    put32(bytes, at + 12, 0);
    return 16;
  }
  put32(bytes, at + 4, 0);
  put32(bytes, at + 8, w0);
  put32(bytes, at + 12, w1);
  put32(bytes, at + 16, w2);
  put32(bytes, at + 20, w3);
  view.setUint32(at + 24, zone, true);
  return SOCKADDR_SIZE;
}

export function sockaddrPort(arena: Arena, at: number): number {
  return get16(arena.bytes, at + 2);
}

/** Word 0 to 3 of the address, IPv4 in mapped form. */
export function sockaddrWord(arena: Arena, at: number, index: number): number {
  if (arena.view.getUint16(at, true) === AF_INET6) return getInt32(arena.bytes, at + 8 + index * 4);
  if (index === 3) return getInt32(arena.bytes, at + 4);
  return index === 2 ? V4_MAPPED_WORD : 0;
}

export function sockaddrZone(arena: Arena, at: number): number {
  return arena.view.getUint16(at, true) === AF_INET6 ? arena.view.getUint32(at + 24, true) : 0;
}

export function sockaddrIp(arena: Arena, at: number): IpAddr {
  const family = arena.view.getUint16(at, true) === AF_INET6 ? 6 : 4;
  return IpAddr.read(family, arena.bytes, at + (family === 4 ? 4 : 8));
}
