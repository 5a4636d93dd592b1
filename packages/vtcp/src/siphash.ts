/** SipHash-2-4 (Aumasson and Bernstein, 2012) over 32-bit words: keyed hashes for ISNs, ports and SYN cookies. */

import type { Random32 } from '@pktkit/core';

export class SipHash {
  readonly #k: Int32Array = new Int32Array(4);
  /** The 64 bits of the last `hash`. */
  low = 0;
  high = 0;

  constructor(random: Random32) {
    for (let i = 0; i < 4; i++) this.#k[i] = random();
  }

  /** For vectors: the key's 16 bytes as four little-endian words. */
  static withKey(k0: number, k1: number, k2: number, k3: number): SipHash {
    const words = [k0, k1, k2, k3];
    return new SipHash(() => words.shift() as number);
  }

  /** Hashes the first `count` words as a little-endian message and gives the low 32 bits. */
  hash(words: Int32Array, count: number): number {
    const k = this.#k;
    let a0 = 0x70736575 ^ k[0];
    let a1 = 0x736f6d65 ^ k[1];
    let b0 = 0x6e646f6d ^ k[2];
    let b1 = 0x646f7261 ^ k[3];
    let c0 = 0x6e657261 ^ k[0];
    let c1 = 0x6c796765 ^ k[1];
    let d0 = 0x79746573 ^ k[2];
    let d1 = 0x74656462 ^ k[3];
    let t = 0;
    const even = count & ~1;
    // The blocks, then the length block, then finalisation with four rounds instead of two.
    for (let i = 0; i <= even + 2; i += 2) {
      let m0 = 0;
      let m1 = 0;
      let rounds = 2;
      if (i < even) {
        m0 = words[i];
        m1 = words[i + 1];
      } else if (i === even) {
        if (even < count) m0 = words[even];
        m1 = count << 26;
      } else {
        c0 ^= 0xff;
        rounds = 4;
      }
      d0 ^= m0;
      d1 ^= m1;
      for (; rounds > 0; rounds--) {
        // a += b; b = rotl(b, 13) ^ a; a = rotl(a, 32)
        t = (a0 >>> 0) + (b0 >>> 0);
        a1 = (a1 + b1 + (t > 0xffffffff ? 1 : 0)) | 0;
        a0 = t | 0;
        t = (b0 << 13) | (b1 >>> 19);
        b1 = ((b1 << 13) | (b0 >>> 19)) ^ a1;
        b0 = t ^ a0;
        t = a0;
        a0 = a1;
        a1 = t;
        // c += d; d = rotl(d, 16) ^ c
        t = (c0 >>> 0) + (d0 >>> 0);
        c1 = (c1 + d1 + (t > 0xffffffff ? 1 : 0)) | 0;
        c0 = t | 0;
        t = (d0 << 16) | (d1 >>> 16);
        d1 = ((d1 << 16) | (d0 >>> 16)) ^ c1;
        d0 = t ^ c0;
        // a += d; d = rotl(d, 21) ^ a
        t = (a0 >>> 0) + (d0 >>> 0);
        a1 = (a1 + d1 + (t > 0xffffffff ? 1 : 0)) | 0;
        a0 = t | 0;
        t = (d0 << 21) | (d1 >>> 11);
        d1 = ((d1 << 21) | (d0 >>> 11)) ^ a1;
        d0 = t ^ a0;
        // c += b; b = rotl(b, 17) ^ c; c = rotl(c, 32)
        t = (c0 >>> 0) + (b0 >>> 0);
        c1 = (c1 + b1 + (t > 0xffffffff ? 1 : 0)) | 0;
        c0 = t | 0;
        t = (b0 << 17) | (b1 >>> 15);
        b1 = ((b1 << 17) | (b0 >>> 15)) ^ c1;
        b0 = t ^ c0;
        t = c0;
        c0 = c1;
        c1 = t;
      }
      a0 ^= m0;
      a1 ^= m1;
    }
    this.low = a0 ^ b0 ^ c0 ^ d0;
    this.high = a1 ^ b1 ^ c1 ^ d1;
    return this.low;
  }
}
