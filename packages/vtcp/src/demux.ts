/** From an IP packet to a parsed segment and the key of its flow: everything that can be wrong with it before any state is looked at. */

import {
  CHECKSUM_PARTIAL,
  CHECKSUM_TRUSTED,
  get16,
  getInt32,
  IPV4_MF,
  IPV4_OFFSET_MASK,
  IpProtocol,
  type Packet,
  SEGMENT_SIZE_MASK,
  V4_MAPPED_WORD,
  verifyTransport,
} from '@pktkit/core';
import type { FlowKey } from './flow.ts';
import type { Segment } from './segment.ts';

/** The counter of what is wrong. */
export type SegmentFault = 'dropMalformed' | 'dropChecksum' | 'dropAddress' | 'dropFragment';

/** Fills `segment` and `key`; gives the counter to raise when the packet is to be dropped. */
export function readSegment(packet: Packet, segment: Segment, key: FlowKey): SegmentFault | null {
  const { buf, off, len, offload } = packet;
  const transport = packet.transport;
  if (transport < 0 || transport >>> 16 !== IpProtocol.TCP) {
    return packet.isFragment ? 'dropFragment' : 'dropMalformed';
  }
  const at = transport & 0xffff;
  const v4 = packet.version === 4;
  if (v4 && (get16(buf, off + 6) & (IPV4_MF | IPV4_OFFSET_MASK)) !== 0) return 'dropFragment';
  if (!segment.parse(buf, off + at, len - at)) return 'dropMalformed';
  if ((offload & (CHECKSUM_TRUSTED | CHECKSUM_PARTIAL)) === 0) {
    if (!verifyTransport(buf, off, IpProtocol.TCP, off + at, len - at)) return 'dropChecksum';
  }
  const unit = offload & SEGMENT_SIZE_MASK;
  if (unit > 0 && unit < segment.dataLen) segment.unit = unit;
  if (v4) {
    segment.ecn = buf[off + 1] & 3;
    key.family = 4;
    key.l0 = key.l1 = key.r0 = key.r1 = 0;
    key.l2 = key.r2 = V4_MAPPED_WORD;
    key.r3 = getInt32(buf, off + 12);
    key.l3 = getInt32(buf, off + 16);
    if (isGroup4(key.r3) || isGroup4(key.l3)) return 'dropAddress';
  } else {
    segment.ecn = (buf[off + 1] >>> 4) & 3;
    key.family = 6;
    key.r0 = getInt32(buf, off + 8);
    key.r1 = getInt32(buf, off + 12);
    key.r2 = getInt32(buf, off + 16);
    key.r3 = getInt32(buf, off + 20);
    key.l0 = getInt32(buf, off + 24);
    key.l1 = getInt32(buf, off + 28);
    key.l2 = getInt32(buf, off + 32);
    key.l3 = getInt32(buf, off + 36);
    if (key.r0 >>> 24 === 0xff || key.l0 >>> 24 === 0xff) return 'dropAddress';
  }
  if (segment.srcPort === 0 || segment.dstPort === 0) return 'dropAddress';
  key.ports = (segment.dstPort << 16) | segment.srcPort;
  return null;
}

/** 224.0.0.0/4, or 255.255.255.255. */
function isGroup4(address: number): boolean {
  return address >>> 28 === 0xe || address === -1;
}
