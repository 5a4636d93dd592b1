/**
 * TCP options (RFC 9293 §3.1): maximum segment size, window scale and timestamps (RFC 7323), SACK (RFC 2018).
 * Unknown ones are passed over; a malformed one ends the list, what came before it counts.
 */

import { get16, getInt32, put16, put32 } from '@pktkit/core';
import type { Segment } from './segment.ts';

const END = 0;
const NOP = 1;
const MSS = 2;
const WINDOW_SCALE = 3;
const SACK_PERMITTED = 4;
const SACK = 5;
const TIMESTAMPS = 8;

/** What 40 bytes of options have room for. */
export const OPTION_SACK_BLOCKS_MAX = 4;
/** Timestamps with the padding in front that everybody uses (RFC 7323 appendix A). */
export const TIMESTAMPS_LENGTH = 12;
/** RFC 7323 §2.3: a larger shift is taken as 14. */
export const WINDOW_SCALE_MAX = 14;

const PADDED_SACK = (NOP << 16) | (NOP << 8) | SACK;
const PADDED_TIMESTAMPS = (NOP << 24) | (NOP << 16) | (TIMESTAMPS << 8) | 10;

export function parseOptions(into: Segment, buf: Uint8Array, from: number, end: number): void {
  let at = from;
  if (end - at >= TIMESTAMPS_LENGTH && getInt32(buf, at) === PADDED_TIMESTAMPS) {
    into.hasTimestamp = true;
    into.tsVal = getInt32(buf, at + 4);
    into.tsEcr = getInt32(buf, at + 8);
    at += TIMESTAMPS_LENGTH;
    // Behind them comes nothing, or SACK with the same padding.
    if (at === end) return;
    const length = buf[at + 3];
    if (getInt32(buf, at) >>> 8 === PADDED_SACK && at + 2 + length === end) {
      readSack(into, buf, at + 4, length);
      return;
    }
  }
  while (at < end) {
    const kind = buf[at];
    if (kind === NOP) {
      at++;
      continue;
    }
    if (kind === END || at + 1 >= end) return;
    const length = buf[at + 1];
    if (length < 2 || at + length > end) return;
    switch (kind) {
      case MSS:
        if (length === 4) into.mss = get16(buf, at + 2);
        break;
      case WINDOW_SCALE:
        if (length === 3) into.windowScale = Math.min(buf[at + 2], WINDOW_SCALE_MAX);
        break;
      case SACK_PERMITTED:
        if (length === 2) into.sackPermitted = true;
        break;
      case SACK:
        readSack(into, buf, at + 2, length);
        break;
      case TIMESTAMPS:
        if (length === 10) {
          into.hasTimestamp = true;
          into.tsVal = getInt32(buf, at + 2);
          into.tsEcr = getInt32(buf, at + 6);
        }
        break;
    }
    at += length;
  }
}

function readSack(into: Segment, buf: Uint8Array, at: number, length: number): void {
  const count = Math.min((length - 2) >> 3, OPTION_SACK_BLOCKS_MAX);
  const { sack } = into;
  for (let i = 0; i < 2 * count; i++) sack[i] = getInt32(buf, at + 4 * i);
  into.sackCount = Math.max(0, count);
}

// Writers give the offset behind what they wrote; each writes a multiple of four bytes.

export function writeMss(buf: Uint8Array, at: number, mss: number): number {
  buf[at] = MSS;
  buf[at + 1] = 4;
  put16(buf, at + 2, mss);
  return at + 4;
}

export function writeWindowScale(buf: Uint8Array, at: number, shift: number): number {
  put32(buf, at, (NOP << 24) | (WINDOW_SCALE << 16) | (3 << 8) | shift);
  return at + 4;
}

export function writeSackPermitted(buf: Uint8Array, at: number): number {
  put32(buf, at, (NOP << 24) | (NOP << 16) | (SACK_PERMITTED << 8) | 2);
  return at + 4;
}

/** In two bytes, over padding that is there already. */
export function writeSackPermittedShort(buf: Uint8Array, at: number): void {
  buf[at] = SACK_PERMITTED;
  buf[at + 1] = 2;
}

export function writeTimestamps(buf: Uint8Array, at: number, value: number, echo: number): number {
  put32(buf, at, PADDED_TIMESTAMPS);
  put32(buf, at + 4, value);
  put32(buf, at + 8, echo);
  return at + TIMESTAMPS_LENGTH;
}

/** The first `count` pairs of `blocks`. */
export function writeSack(buf: Uint8Array, at: number, blocks: Int32Array, count: number): number {
  put32(buf, at, (NOP << 24) | (NOP << 16) | (SACK << 8) | (2 + 8 * count));
  for (let i = 0; i < 2 * count; i++) put32(buf, at + 4 + 4 * i, blocks[i]);
  return at + 4 + 8 * count;
}
