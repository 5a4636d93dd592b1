/**
 * Finds who an index stands for. Indices are 32 random bits that we choose, unique over all identities of an engine, so
 * their low bits are the hash: nobody outside can make them collide. Open addressing in one Int32Array beside the
 * array of values; 0 is the empty place and never an index.
 */

import type { Random32 } from '@pktkit/core';

const SMALLEST = 64;

export class IndexTable<T> {
  #keys: Int32Array = new Int32Array(SMALLEST);
  #values: Array<T | undefined> = new Array(SMALLEST).fill(undefined);
  #mask = SMALLEST - 1;
  #size = 0;
  readonly #limit: number;
  readonly #random: Random32;

  /** Holds at most `limit` values. */
  constructor(limit: number, random: Random32) {
    this.#limit = limit;
    this.#random = random;
  }

  get size(): number {
    return this.#size;
  }

  get(index: number): T | undefined {
    const keys = this.#keys;
    const mask = this.#mask;
    let at = index & mask;
    let key = keys[at];
    while (key !== index) {
      if (key === 0) return undefined;
      at = (at + 1) & mask;
      key = keys[at];
    }
    return this.#values[at];
  }

  /** Stores the value under a fresh random index; 0 when the table is full. */
  add(value: T): number {
    if (this.#size >= this.#limit) return 0;
    if (this.#size * 2 >= this.#keys.length) this.#resize(this.#keys.length * 2);
    for (;;) {
      const index = this.#random() | 0;
      if (index === 0 || this.get(index) !== undefined) continue;
      this.#put(index, value);
      this.#size++;
      return index;
    }
  }

  /** Gives an index another value: a handshake's becomes its session's. False when the index is not in use. */
  replace(index: number, value: T): boolean {
    const at = this.#find(index);
    if (at < 0) return false;
    this.#values[at] = value;
    return true;
  }

  delete(index: number): boolean {
    let hole = this.#find(index);
    if (hole < 0) return false;
    // Closes the gap, so that no search ends too early.
    const keys = this.#keys;
    const mask = this.#mask;
    for (let at = (hole + 1) & mask; keys[at] !== 0; at = (at + 1) & mask) {
      const home = keys[at] & mask;
      if (((at - home) & mask) >= ((at - hole) & mask)) {
        keys[hole] = keys[at];
        this.#values[hole] = this.#values[at];
        hole = at;
      }
    }
    keys[hole] = 0;
    this.#values[hole] = undefined;
    this.#size--;
    if (keys.length > SMALLEST && this.#size * 8 < keys.length) this.#resize(keys.length / 2);
    return true;
  }

  #find(index: number): number {
    if (index === 0) return -1;
    const mask = this.#mask;
    for (let at = index & mask; ; at = (at + 1) & mask) {
      const key = this.#keys[at];
      if (key === index) return at;
      if (key === 0) return -1;
    }
  }

  #put(index: number, value: T): void {
    let at = index & this.#mask;
    while (this.#keys[at] !== 0) at = (at + 1) & this.#mask;
    this.#keys[at] = index;
    this.#values[at] = value;
  }

  #resize(length: number): void {
    const keys = this.#keys;
    const values = this.#values;
    this.#keys = new Int32Array(length);
    this.#values = new Array(length).fill(undefined);
    this.#mask = length - 1;
    for (let i = 0; i < keys.length; i++) {
      if (keys[i] !== 0) this.#put(keys[i], values[i] as T);
    }
  }
}
