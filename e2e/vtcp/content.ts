/** What the transfers carry: pseudo-random blocks of which no two are alike, so that any shift or repetition shows. */

import { createHash } from 'node:crypto';

export const BLOCK = 1 << 18;

const pattern = new Uint8Array(BLOCK);
for (let i = 0, x = 0x9e3779b9; i < BLOCK; i++) {
  x ^= x << 13;
  x ^= x >>> 17;
  x ^= x << 5;
  pattern[i] = x;
}

/** The block that begins at `at`, a multiple of `BLOCK`. A new array: writers keep it. */
export function blockAt(at: number): Uint8Array {
  const block = pattern.slice();
  new DataView(block.buffer).setFloat64(0, at);
  return block;
}

export function contentHash(size: number): string {
  const hash = createHash('sha256');
  for (let at = 0; at < size; at += BLOCK) {
    const block = blockAt(at);
    hash.update(size - at < BLOCK ? block.subarray(0, size - at) : block);
  }
  return hash.digest('hex');
}
