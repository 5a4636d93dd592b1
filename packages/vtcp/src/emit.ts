/** One segment of a connection onto the wire, with the options and the window that it carries. */

import { Accept, HEADROOM, pool } from '@pktkit/core';
import type { Connection } from './connection.ts';
import {
  OPTION_SACK_BLOCKS_MAX,
  TIMESTAMPS_LENGTH,
  writeMss,
  writeSack,
  writeSackPermitted,
  writeSackPermittedShort,
  writeTimestamps,
  writeWindowScale,
} from './options.ts';
import { finishPacket, ipHeaderLength, takeBuffer, writeIpHeader } from './packet-writer.ts';
import { ACK, CWR, ECE, RST, SYN, TCP_HEADER, writeHeader } from './segment.ts';
import { seqDiff } from './seq.ts';
import { SYN_SENT } from './state.ts';
import { selectWindow } from './window.ts';

/** RFC 3168 §5: ECN-capable, codepoint ECT(0). */
const ECT_0 = 2;

/** The payload that one call of `emitData` may carry now: a multiple of the segment size where the way out segments. */
export function largestPayload(c: Connection): number {
  const tso = c.family === 4 ? Accept.TSO4 : Accept.TSO6;
  if ((c.stack.offload & tso) === 0) return c.mss;
  // The IPv4 total length has 16 bits; options are at most 40 bytes.
  return Math.max(1, Math.floor((65535 - 40 - 60) / c.mss)) * c.mss;
}

/** Sends `len` bytes of the stream from `seq` on, and the FIN behind them if asked. Also acknowledges. */
export function emitData(
  c: Connection,
  seq: number,
  len: number,
  extraFlags: number,
  retransmission: boolean,
): void {
  const stack = c.stack;
  let flags = ACK | extraFlags;
  let ecn = 0;
  if (c.ecnOn) {
    if (c.ecnEcho) flags |= ECE;
    // RFC 3168 §6.1.5: no ECT on a retransmission. §6.1.2: CWR on the first new data after a reduction.
    if (!retransmission && len > 0) {
      ecn = ECT_0;
      if (c.ecnCwr) {
        flags |= CWR;
        c.ecnCwr = false;
      }
    }
  }
  const tsLen = c.tsOn ? TIMESTAMPS_LENGTH : 0;
  const headerLen = TCP_HEADER + tsLen;
  const tcpLength = headerLen + len;
  const ipHeader = ipHeaderLength(c);
  const buf = takeBuffer(tcpLength, ipHeader);
  const off = HEADROOM + ipHeader;
  writeIpHeader(buf, c, tcpLength, c.config.ttl, (c.config.dscp << 2) | ecn);
  const window = selectWindow(c);
  writeHeader(buf, off, c.localPort, c.remotePort, seq, c.rcvNxt, headerLen, flags, window);
  if (tsLen > 0) writeTimestamps(buf, off + TCP_HEADER, c.timestamp(), c.tsRecent);
  if (len > 0) c.send.copyTo(seq, buf, off + headerLen, len);
  acknowledged(c);
  c.segmentsOut++;
  if (len > 0) {
    c.dataSegmentsOut++;
    c.bytesSent += len;
  }
  c.lastSentAt = stack.now;
  stack.stats.segmentsOut++;
  stack.stats.bytesOut += len;
  if (stack.tracing) traceSent(c, seq, len, flags, retransmission);
  stack.output(finishPacket(buf, c, tcpLength, len > c.mss ? c.mss : 0, stack.offload));
  pool.give(buf);
}

/** Sends an acknowledgement alone, with SACK blocks as there are; `seq` is SND.NXT but for probes. */
export function emitAck(c: Connection, seq: number, blockOffset = 0): void {
  const stack = c.stack;
  const blocks = c.sackOn ? sackBlocks(c, blockOffset) : 0;
  const tsLen = c.tsOn ? TIMESTAMPS_LENGTH : 0;
  const tcpLength = TCP_HEADER + tsLen + (blocks > 0 ? 4 + 8 * blocks : 0);
  const ipHeader = ipHeaderLength(c);
  const buf = takeBuffer(tcpLength, ipHeader);
  const off = HEADROOM + ipHeader;
  writeIpHeader(buf, c, tcpLength, c.config.ttl, c.config.dscp << 2);
  const flags = c.ecnEcho && c.ecnOn ? ACK | ECE : ACK;
  const window = selectWindow(c);
  writeHeader(buf, off, c.localPort, c.remotePort, seq, c.rcvNxt, tcpLength, flags, window);
  let at = off + TCP_HEADER;
  if (tsLen > 0) at = writeTimestamps(buf, at, c.timestamp(), c.tsRecent);
  if (blocks > 0) writeSack(buf, at, scratchBlocks, blocks);
  acknowledged(c);
  c.segmentsOut++;
  stack.stats.segmentsOut++;
  if (stack.tracing) traceSent(c, seq, 0, flags);
  stack.output(finishPacket(buf, c, tcpLength, 0, stack.offload));
  pool.give(buf);
}

/** The SYN of an active open or the SYN-ACK of a passive one. */
export function emitSyn(c: Connection, withEcn: boolean): void {
  const stack = c.stack;
  const active = c.stateNumber === SYN_SENT;
  const config = c.config;
  // What we offer when opening; what both want when answering (VTCP-11).
  const ts = active ? config.timestamps : c.tsOn;
  const sack = active ? config.sack : c.sackOn;
  const scale = active ? config.windowScale : c.scaleOn;
  let optionsLen = 4;
  if (ts) optionsLen += TIMESTAMPS_LENGTH;
  else if (sack) optionsLen += 4;
  if (scale) optionsLen += 4;
  const tcpLength = TCP_HEADER + optionsLen;
  const ipHeader = ipHeaderLength(c);
  const buf = takeBuffer(tcpLength, ipHeader);
  const off = HEADROOM + ipHeader;
  writeIpHeader(buf, c, tcpLength, config.ttl, config.dscp << 2);
  let flags = active ? SYN : SYN | ACK;
  // RFC 3168 §6.1.1: ECE and CWR ask, ECE alone grants.
  if (active && withEcn) flags |= ECE | CWR;
  else if (!active && c.ecnOn) flags |= ECE;
  // RFC 7323 §2.2: the window of a SYN is never scaled.
  const window = Math.min(65535, c.rcvBuf);
  const ack = active ? 0 : c.rcvNxt;
  writeHeader(buf, off, c.localPort, c.remotePort, c.iss, ack, tcpLength, flags, window);
  let at = writeMss(buf, off + TCP_HEADER, announcedMss(c));
  if (ts) {
    const padding = at;
    at = writeTimestamps(buf, at, c.timestamp(), c.tsRecent);
    // The two bytes of padding have room for SACK-permitted, as everybody does it.
    if (sack) writeSackPermittedShort(buf, padding);
  } else if (sack) {
    at = writeSackPermitted(buf, at);
  }
  if (scale) writeWindowScale(buf, at, c.rcvScale);
  if (!active) {
    c.rcvAdv = (c.rcvNxt + window) | 0;
    acknowledged(c);
  }
  c.segmentsOut++;
  c.lastSentAt = stack.now;
  stack.stats.segmentsOut++;
  if (stack.tracing) traceSent(c, c.iss, 0, flags);
  stack.output(finishPacket(buf, c, tcpLength, 0, stack.offload));
  pool.give(buf);
}

export function emitReset(c: Connection): void {
  const stack = c.stack;
  const tsLen = c.tsOn ? TIMESTAMPS_LENGTH : 0;
  const tcpLength = TCP_HEADER + tsLen;
  const ipHeader = ipHeaderLength(c);
  const buf = takeBuffer(tcpLength, ipHeader);
  const off = HEADROOM + ipHeader;
  writeIpHeader(buf, c, tcpLength, c.config.ttl, c.config.dscp << 2);
  writeHeader(buf, off, c.localPort, c.remotePort, c.nxt, c.rcvNxt, tcpLength, RST | ACK, 0);
  if (tsLen > 0) writeTimestamps(buf, off + TCP_HEADER, c.timestamp(), c.tsRecent);
  c.segmentsOut++;
  stack.stats.segmentsOut++;
  stack.stats.resetsOut++;
  if (stack.tracing) traceSent(c, c.nxt, 0, RST | ACK);
  stack.output(finishPacket(buf, c, tcpLength, 0, stack.offload));
  pool.give(buf);
}

/** RFC 6691: the MTU less the fixed headers, options not counted. */
export function announcedMss(c: Connection): number {
  const headers = ipHeaderLength(c) + TCP_HEADER;
  return Math.max(64, Math.min(c.config.mss, c.stack.mtu - headers));
}

/** Whatever left with RCV.NXT in it acknowledges. */
function acknowledged(c: Connection): void {
  c.ackNow = c.ackDelayed = false;
  c.ackCount = 0;
  c.ackAt = Number.POSITIVE_INFINITY;
  c.lastAckSent = c.rcvNxt;
  c.unackedBytes = 0;
  if (c.quickAcks > 0) c.quickAcks--;
}

/** Shared: filled and written within one call. */
const scratchBlocks = new Int32Array(2 * OPTION_SACK_BLOCKS_MAX);

/**
 * The blocks for the next acknowledgement, into `scratchBlocks`; gives their number. A D-SACK comes first (RFC 2883 §4), then
 * what changed last (RFC 2018 §4). `skip` leaves out that many, for acknowledgements that report more than one can hold.
 */
function sackBlocks(c: Connection, skip: number): number {
  const max = c.tsOn ? OPTION_SACK_BLOCKS_MAX - 1 : OPTION_SACK_BLOCKS_MAX;
  let n = 0;
  if (c.dsackStart !== c.dsackEnd) {
    scratchBlocks[0] = c.dsackStart;
    scratchBlocks[1] = c.dsackEnd;
    c.dsackStart = c.dsackEnd = 0;
    n = 1;
  }
  const ranges = c.receive.pieces?.ranges;
  if (ranges === undefined || ranges.length === 0) return n;
  let below = Number.POSITIVE_INFINITY;
  let skipped = 0;
  while (n < max) {
    let newest = null;
    for (const range of ranges) {
      if (range.stamp < below && (newest === null || range.stamp > newest.stamp)) newest = range;
    }
    if (newest === null) break;
    below = newest.stamp;
    if (skipped++ < skip) continue;
    scratchBlocks[2 * n] = newest.start;
    // A FIN behind the data has arrived too, and has a sequence number of its own.
    const fin = c.finPending && newest.end === c.finSeq;
    scratchBlocks[2 * n + 1] = fin ? (newest.end + 1) | 0 : newest.end;
    n++;
  }
  return n;
}

function traceSent(
  c: Connection,
  seq: number,
  len: number,
  flags: number,
  retransmission = false,
): void {
  c.stack.trace(c, 'segment_sent', {
    seq: seqDiff(seq, c.iss),
    ack: c.irs === 0 ? 0 : seqDiff(c.rcvNxt, c.irs),
    len,
    flags,
    retransmission,
  });
}
