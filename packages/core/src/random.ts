/** Secure random numbers without a system call each: words are drawn from a block that is refilled when used up. */

import { fillRandom } from './platform.ts';

export { fillRandom };

/** Gives an unsigned 32-bit random integer. Engines take one as an option, so that tests can seed it. */
export type Random32 = () => number;

const block = new Uint32Array(1024);
const blockBytes = new Uint8Array(block.buffer);
let used = block.length;

/** Unsigned 32 bits from the system's secure generator. */
export function random32(): number {
  if (used === block.length) {
    fillRandom(blockBytes);
    used = 0;
  }
  const word = block[used];
  // A word is handed out once: nothing that reads the block later learns what was drawn.
  block[used++] = 0;
  return word;
}

/** Uniform in `0 … bound - 1`; `bound` is at most 2^32. */
export function randomBelow(bound: number, random: Random32 = random32): number {
  const limit = 2 ** 32 - (2 ** 32 % bound);
  let word = random();
  while (word >= limit) word = random();
  return word % bound;
}
