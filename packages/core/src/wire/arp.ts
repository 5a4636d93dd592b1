/**
 * ARP for IPv4 over Ethernet (RFC 826).
 *
 *     0                2                4     5     6
 *     +----------------+----------------+-----+-----+----------------+
 *     | hardware (1)   | protocol 0x800 |  6  |  4  | operation      |   0
 *     +----------------+----------------+-----+-----+----------------+
 *     | sender MAC (6)                    | sender IPv4 (4)          |   8
 *     +-----------------------------------+--------------------------+
 *     | target MAC (6)                    | target IPv4 (4)          |  18
 *     +-----------------------------------+--------------------------+
 */

import { get16, get32, getInt32, put16, put32 } from '../bytes.ts';
import { readMac, writeMac } from '../mac.ts';
import { EtherType } from './ethernet.ts';

export const ARP_LENGTH = 28;

export const ArpOperation = { REQUEST: 1, REPLY: 2 } as const;
export type ArpOperation = number;

/** The operation of a well-formed request or reply for IPv4 over Ethernet, or -1. */
export function arpOperation(buf: Uint8Array, off: number, len: number): ArpOperation {
  if (len < ARP_LENGTH) return -1;
  if (get32(buf, off) !== (0x10000 | EtherType.IPV4) || get16(buf, off + 4) !== 0x0604) return -1;
  const operation = get16(buf, off + 6);
  return operation === ArpOperation.REQUEST || operation === ArpOperation.REPLY ? operation : -1;
}

/** 48-bit integer. */
export function arpSenderMac(buf: Uint8Array, off: number): number {
  return readMac(buf, off + 8);
}

/** Signed 32 bits, as tables store addresses. */
export function arpSenderIp(buf: Uint8Array, off: number): number {
  return getInt32(buf, off + 14);
}

/** Signed 32 bits. */
export function arpTargetIp(buf: Uint8Array, off: number): number {
  return getInt32(buf, off + 24);
}

/** Writes 28 bytes. MAC addresses are 48-bit integers, IP addresses 32 bits of either sign. */
export function writeArp(
  buf: Uint8Array,
  off: number,
  operation: ArpOperation,
  senderMac: number,
  senderIp: number,
  targetMac: number,
  targetIp: number,
): void {
  put32(buf, off, 0x10000 | EtherType.IPV4);
  put16(buf, off + 4, 0x0604);
  put16(buf, off + 6, operation);
  writeMac(buf, off + 8, senderMac);
  put32(buf, off + 14, senderIp);
  writeMac(buf, off + 18, targetMac);
  put32(buf, off + 24, targetIp);
}
