import { IpAddr, MAX_ICMP_ERROR, Packet, writeIcmpError } from '@pktkit/core';

/** An ICMP error about a packet, as a router at `from` would send it. */
export function icmpError(about: Packet, from: string, type: number, code: number): Packet {
  const buf = new Uint8Array(MAX_ICMP_ERROR);
  const length = writeIcmpError(buf, 0, about, IpAddr.parse(from), type, code);
  return new Packet(buf, 0, length);
}
