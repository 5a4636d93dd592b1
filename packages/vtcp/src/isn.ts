/** Initial sequence numbers (RFC 6528): a clock of 4 µs plus a keyed hash of the four-tuple. */

import type { FlowKey } from './flow.ts';
import type { SipHash } from './siphash.ts';

const words = new Int32Array(10);

/** The words of a four-tuple for `SipHash`, shared scratch; gives how many. */
export function tupleWords(into: Int32Array, key: FlowKey): number {
  if (key.family === 4) {
    into[0] = key.l3;
    into[1] = key.r3;
    into[2] = key.ports;
    return 3;
  }
  into[0] = key.l0;
  into[1] = key.l1;
  into[2] = key.l2;
  into[3] = key.l3;
  into[4] = key.r0;
  into[5] = key.r1;
  into[6] = key.r2;
  into[7] = key.r3;
  into[8] = key.ports;
  return 9;
}

export function initialSequence(hash: SipHash, key: FlowKey, now: number): number {
  const n = tupleWords(words, key);
  words[n] = 0x49534e;
  // Modulo 2^32: the clock goes round every 4.77 hours (RFC 9293 §3.4.1).
  return (hash.hash(words, n + 1) + ((now * 250) % 4294967296)) | 0;
}
