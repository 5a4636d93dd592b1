/** Ephemeral ports by RFC 6056 §3.3.4, algorithm 4: per destination in order, from an offset that only we know. */

import type { FlowKey } from './flow.ts';
import { tupleWords } from './isn.ts';
import type { SipHash } from './siphash.ts';

const TABLE = 256;
const words = new Int32Array(10);

export class PortAllocator {
  readonly #first: number;
  readonly #count: number;
  readonly #hash: SipHash;
  readonly #table: Uint32Array = new Uint32Array(TABLE);

  constructor(hash: SipHash, first: number, last: number) {
    this.#hash = hash;
    this.#first = first;
    this.#count = last - first + 1;
  }

  /** The first port that `isFree`, or -1. `key` holds everything but the local port. */
  next(key: FlowKey, isFree: (port: number) => boolean): number {
    key.ports &= 0xffff;
    const n = tupleWords(words, key);
    words[n] = 0x504f5254;
    const offset = this.#hash.hash(words, n + 1) >>> 0;
    const index = (this.#hash.high >>> 0) % TABLE;
    for (let tries = 0; tries < this.#count; tries++) {
      const port = this.#first + ((offset + this.#table[index]++) % this.#count);
      if (isFree(port)) return port;
    }
    return -1;
  }
}
