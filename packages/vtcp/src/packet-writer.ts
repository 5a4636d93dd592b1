/** Segments as IP packets in pooled buffers: headers written, payload copied once, the checksum as far as the way out needs. */

import {
  Accept,
  CHECKSUM_PARTIAL,
  CHECKSUM_TRUSTED,
  checksum,
  combine,
  HEADROOM,
  IPV4_DF,
  IpProtocol,
  Packet,
  pool,
  pseudoHeaderSum,
  put16,
  put32,
  TAILROOM,
} from '@pktkit/core';
import type { Flow } from './flow.ts';

/** 20 or 40. */
export function ipHeaderLength(flow: Flow): number {
  return flow.family === 4 ? 20 : 40;
}

export function takeBuffer(tcpLength: number, ipHeader: number): Uint8Array {
  return pool.take(HEADROOM + ipHeader + tcpLength + TAILROOM);
}

/** Writes the IP header at `HEADROOM` for `tcpLength` bytes behind it; `dscpEcn` is the whole traffic-class byte. */
export function writeIpHeader(
  buf: Uint8Array,
  flow: Flow,
  tcpLength: number,
  ttl: number,
  dscpEcn: number,
): void {
  const off = HEADROOM;
  if (flow.family === 4) {
    const total = 20 + tcpLength;
    put32(buf, off, (0x45 << 24) | (dscpEcn << 16) | total);
    // Never fragmented, so the identification means nothing (RFC 6864 §4.1).
    put32(buf, off + 4, IPV4_DF);
    put32(buf, off + 8, (ttl << 24) | (IpProtocol.TCP << 16));
    put32(buf, off + 12, flow.l3);
    put32(buf, off + 16, flow.r3);
    put16(buf, off + 10, headerChecksum(flow, total, ttl, dscpEcn));
    return;
  }
  // RFC 6437: one label per flow. The ports alone tell a pair's flows apart.
  const label = (Math.imul(flow.ports, 0x9e3779b1) >>> 12) & 0xfffff;
  put32(buf, off, (6 << 28) | (dscpEcn << 20) | label);
  put32(buf, off + 4, (tcpLength << 16) | (IpProtocol.TCP << 8) | ttl);
  put32(buf, off + 8, flow.l0);
  put32(buf, off + 12, flow.l1);
  put32(buf, off + 16, flow.l2);
  put32(buf, off + 20, flow.l3);
  put32(buf, off + 24, flow.r0);
  put32(buf, off + 28, flow.r1);
  put32(buf, off + 32, flow.r2);
  put32(buf, off + 36, flow.r3);
}

/**
 * The finished packet. With `offload` the checksum field gets the pseudo-header's sum and `unit` says where a
 * super-segment is to be cut; without, the checksum is complete.
 */
export function finishPacket(
  buf: Uint8Array,
  flow: Flow,
  tcpLength: number,
  unit: number,
  offload: number,
): Packet {
  const ipHeader = ipHeaderLength(flow);
  const tcp = HEADROOM + ipHeader;
  const pseudo = pseudoSum(buf, flow, tcpLength);
  if ((offload & Accept.CHECKSUM) !== 0) {
    put16(buf, tcp + 16, pseudo);
    return new Packet(
      buf,
      HEADROOM,
      ipHeader + tcpLength,
      unit | CHECKSUM_PARTIAL | CHECKSUM_TRUSTED,
    );
  }
  put16(buf, tcp + 16, checksum(buf, tcp, tcpLength, pseudo));
  return new Packet(buf, HEADROOM, ipHeader + tcpLength);
}

/** The finished packet with a complete checksum, when the payload's sum is known from copying it. */
export function finishSummed(
  buf: Uint8Array,
  flow: Flow,
  tcpLength: number,
  headerLen: number,
  payloadSum: number,
): Packet {
  const ipHeader = ipHeaderLength(flow);
  const tcp = HEADROOM + ipHeader;
  const initial = combine(pseudoSum(buf, flow, tcpLength), payloadSum);
  put16(buf, tcp + 16, checksum(buf, tcp, headerLen, initial));
  return new Packet(buf, HEADROOM, ipHeader + tcpLength);
}

function pseudoSum(buf: Uint8Array, flow: Flow, tcpLength: number): number {
  if (flow.family === 6) return pseudoHeaderSum(buf, HEADROOM, IpProtocol.TCP, tcpLength);
  const { l3, r3 } = flow;
  let sum = (l3 >>> 16) + (l3 & 0xffff) + (r3 >>> 16) + (r3 & 0xffff) + IpProtocol.TCP + tcpLength;
  sum = (sum & 0xffff) + (sum >>> 16);
  return (sum & 0xffff) + (sum >>> 16);
}

function headerChecksum(flow: Flow, total: number, ttl: number, dscpEcn: number): number {
  const { l3, r3 } = flow;
  let sum =
    (0x4500 | dscpEcn) +
    total +
    IPV4_DF +
    ((ttl << 8) | IpProtocol.TCP) +
    (l3 >>> 16) +
    (l3 & 0xffff) +
    (r3 >>> 16) +
    (r3 & 0xffff);
  sum = (sum & 0xffff) + (sum >>> 16);
  return ~((sum & 0xffff) + (sum >>> 16)) & 0xffff;
}
