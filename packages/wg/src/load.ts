/**
 * Guards the handshake, the one thing about WireGuard that costs a stranger little and us much (whitepaper §5.3).
 *
 * `LoadMeter` tells when we are busy. On one thread nothing waits in a queue whose length could be looked at, so it counts:
 * handshake messages with a right MAC1 fill a bucket that drains at the rate we are willing to work; when it runs over we
 * are under load, and stay so for a second after the last overflow. `SourceLimiter` then holds each address to a
 * rate of its own, in a table that never grows.
 */

import { getInt32, type Random32 } from '@pktkit/core';

/** How long load is assumed after it was last seen. */
const LOAD_LASTS = 1000;

export class LoadMeter {
  readonly #rate: number;
  readonly #burst: number;
  #level = 0;
  #at = 0;
  #until = Number.NEGATIVE_INFINITY;

  /** `rate` messages a second, after `burst` at once. */
  constructor(rate: number, burst: number) {
    this.#rate = rate;
    this.#burst = burst;
  }

  /** Counts one message; true while under load. */
  note(now: number): boolean {
    this.#level = Math.max(0, this.#level - ((now - this.#at) * this.#rate) / 1000) + 1;
    this.#at = now;
    if (this.#level > this.#burst) {
      // More would only keep us from noticing the end.
      this.#level = this.#burst;
      this.#until = now + LOAD_LASTS;
    }
    return now < this.#until;
  }

  isUnderLoad(now: number): boolean {
    return now < this.#until;
  }
}

const SETS = 1024;
const WAYS = 4;
/** Handshake messages a second that one address may cost us under load, and how many at once. */
const SOURCE_RATE = 20;
const SOURCE_BURST = 5;

/** Token buckets for the addresses seen last: 4096 of them in sets of four, the oldest of a set making room. */
export class SourceLimiter {
  readonly #keys = new Int32Array(SETS * WAYS);
  readonly #tokens = new Float64Array(SETS * WAYS);
  readonly #seen = new Float64Array(SETS * WAYS).fill(Number.NEGATIVE_INFINITY);
  readonly #seed: number;

  constructor(random: Random32) {
    this.#seed = random() | 0;
  }

  /** Takes a token of this source, whose last two bytes are the port and do not count. */
  allow(source: Uint8Array, length: number, now: number): boolean {
    const key = this.#hash(source, length - 2);
    const first = (key & (SETS - 1)) * WAYS;
    let at = first;
    for (let i = first; i < first + WAYS; i++) {
      if (this.#keys[i] === key && this.#seen[i] !== Number.NEGATIVE_INFINITY) {
        const tokens = Math.min(
          SOURCE_BURST,
          this.#tokens[i] + ((now - this.#seen[i]) * SOURCE_RATE) / 1000,
        );
        this.#seen[i] = now;
        this.#tokens[i] = tokens >= 1 ? tokens - 1 : tokens;
        return tokens >= 1;
      }
      if (this.#seen[i] < this.#seen[at]) at = i;
    }
    this.#keys[at] = key;
    this.#seen[at] = now;
    this.#tokens[at] = SOURCE_BURST - 1;
    return true;
  }

  /** Murmur3's rounds over the words, keyed: who does not know the seed cannot aim at another's bucket. */
  #hash(source: Uint8Array, length: number): number {
    let hash = this.#seed;
    let at = 0;
    for (; at + 4 <= length; at += 4) hash = mix(hash, getInt32(source, at));
    let rest = 0;
    for (; at < length; at++) rest = (rest << 8) | source[at];
    hash = mix(hash, rest ^ length);
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    return hash ^ (hash >>> 16);
  }
}

function mix(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51);
  k = Math.imul((k << 15) | (k >>> 17), 0x1b873593);
  const h = hash ^ k;
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
}
