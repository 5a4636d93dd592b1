/**
 * TAI64N time stamps (https://cr.yp.to/libtai/tai64.html): 8 bytes of seconds since 1970 TAI offset by 2^62, 4 bytes of
 * nanoseconds, big-endian, so that later ones are larger as bytes.
 */

import { put32 } from '@pktkit/core';
import { TIMESTAMP_LENGTH } from './constants.ts';

/** 2^62 in its high half, and the 10 seconds that TAI was ahead when UTC began. */
const BASE_HIGH = 0x40000000;
const BASE_LOW = 10;
/** Nanoseconds are rounded down to about 17 ms: a finer clock would tell when packets were made. */
const GRAIN = 0x1000000;
const LAST_GRAIN = Math.floor(999_999_999 / GRAIN) * GRAIN;

/** Writes time stamps that rise strictly, even when the wall clock stands still or steps back. */
export class Tai64n {
  #seconds = 0;
  #nanos = 0;

  /** `wall` is milliseconds since 1970 UTC. Writes 12 bytes. */
  write(wall: number, buf: Uint8Array, off: number): void {
    let seconds = Math.floor(wall / 1000);
    let nanos = Math.floor(((wall - seconds * 1000) * 1e6) / GRAIN) * GRAIN;
    if (seconds < this.#seconds || (seconds === this.#seconds && nanos <= this.#nanos)) {
      seconds = this.#seconds;
      nanos = this.#nanos + GRAIN;
      if (nanos > LAST_GRAIN) {
        seconds++;
        nanos = 0;
      }
    }
    this.#seconds = seconds;
    this.#nanos = nanos;
    const low = seconds + BASE_LOW;
    put32(buf, off, BASE_HIGH + Math.floor(low / 0x100000000));
    put32(buf, off + 4, low % 0x100000000);
    put32(buf, off + 8, nanos);
  }
}

/** Compares two time stamps as bytes: negative, zero or positive. */
export function compareTimestamps(
  a: Uint8Array,
  aOff: number,
  b: Uint8Array,
  bOff: number,
): number {
  for (let i = 0; i < TIMESTAMP_LENGTH; i++) {
    const difference = a[aOff + i] - b[bOff + i];
    if (difference !== 0) return difference;
  }
  return 0;
}
