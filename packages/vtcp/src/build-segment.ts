/** Segments by hand, for scripts, tests and tools: the engine's own way from fields to a packet. */

import { copyAndSum, HEADROOM, type Packet } from '@pktkit/core';
import type { Flow } from './flow.ts';
import { TIMESTAMPS_LENGTH, writeTimestamps } from './options.ts';
import {
  finishPacket,
  finishSummed,
  ipHeaderLength,
  takeBuffer,
  writeIpHeader,
} from './packet-writer.ts';
import { TCP_HEADER, writeHeader } from './segment.ts';

export interface SegmentFields {
  seq: number;
  ack: number;
  /** `FIN` … `CWR` of this module. */
  flags: number;
  /** As on the wire. */
  window: number;
  /** Timestamps when `tsVal` is not 0. */
  tsVal?: number | undefined;
  tsEcr?: number | undefined;
}

/**
 * A complete packet from the flow's local end to its remote one, in a buffer of core's pool: `pool.give(packet.buf)` when it
 * has been sent. `offload`: `Accept` bits of whoever takes it; 0 gives a complete checksum.
 */
export function buildSegment(
  flow: Flow,
  fields: SegmentFields,
  payload: Uint8Array,
  off: number,
  len: number,
  offload = 0,
): Packet {
  const tsVal = fields.tsVal ?? 0;
  const headerLen = TCP_HEADER + (tsVal === 0 ? 0 : TIMESTAMPS_LENGTH);
  const length = headerLen + len;
  const ipHeader = ipHeaderLength(flow);
  const buf = takeBuffer(length, ipHeader);
  const at = HEADROOM + ipHeader;
  const { seq, ack, flags, window } = fields;
  writeIpHeader(buf, flow, length, 64, 0);
  writeHeader(buf, at, flow.localPort, flow.remotePort, seq, ack, headerLen, flags, window);
  if (tsVal !== 0) writeTimestamps(buf, at + TCP_HEADER, tsVal, fields.tsEcr ?? 0);
  const sum = copyAndSum(buf, at + headerLen, payload, off, len);
  return offload === 0
    ? finishSummed(buf, flow, length, headerLen, sum)
    : finishPacket(buf, flow, length, 0, offload);
}
