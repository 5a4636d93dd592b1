/**
 * Which port an Ethernet address was last seen on. Open addressing in typed arrays under a seeded hash; bounded, with the
 * least recently seen address making room (a flood of forged sources cannot stop learning, as IEEE 802.1Q §8.8 would allow).
 *
 * Time is a tick that the owner advances every few seconds: seeing an address again costs one comparison, and the list by
 * age is only relinked when the tick has moved.
 */

import { hashSecret, hashWord, spread } from './hash.ts';
import type { Random32 } from './random.ts';

const NONE = -1;
const STATIC = 0x7fffffff;

export class MacTable {
  readonly capacity: number;
  /** Raised whenever an address leaves or moves: what was remembered from before is stale. */
  generation = 0;
  #size = 0;
  readonly #secret: Int32Array;
  readonly #slots: Int32Array;
  readonly #mask: number;
  readonly #shift: number;
  readonly #high: Int32Array;
  readonly #low: Int32Array;
  readonly #port: Int32Array;
  readonly #tick: Int32Array;
  /** By age: doubly linked, oldest first. Free records are linked through `#newer`. */
  readonly #newer: Int32Array;
  readonly #older: Int32Array;
  #oldest = NONE;
  #newest = NONE;
  #free = 0;

  constructor(capacity: number, random?: Random32) {
    this.capacity = capacity;
    this.#secret = hashSecret(2, random);
    const slots = 2 ** Math.ceil(Math.log2(capacity * 2));
    this.#slots = new Int32Array(slots);
    this.#mask = slots - 1;
    this.#shift = Math.clz32(slots) + 1;
    this.#high = new Int32Array(capacity);
    this.#low = new Int32Array(capacity);
    this.#port = new Int32Array(capacity);
    this.#tick = new Int32Array(capacity);
    this.#newer = Int32Array.from({ length: capacity }, (_, i) =>
      i + 1 < capacity ? i + 1 : NONE,
    );
    this.#older = new Int32Array(capacity);
  }

  get size(): number {
    return this.#size;
  }

  /** The port of an address given as its upper 16 and lower 32 bits (signed), or -1. */
  lookup(high: number, low: number): number {
    const record = this.#find(high, low);
    return record < 0 ? NONE : this.#port[record];
  }

  /**
   * Notes that an address was seen on a port. Gives 0 when that was known, 1 for a new address, 2 for one that has moved, 3
   * for a new one that pushed the oldest out, and -1 when the address is fixed elsewhere or the table is full of fixed ones.
   */
  learn(high: number, low: number, port: number, tick: number): number {
    const record = this.#find(high, low);
    if (record >= 0) {
      if (this.#tick[record] === STATIC) return this.#port[record] === port ? 0 : -1;
      if (this.#tick[record] !== tick) {
        this.#tick[record] = tick;
        this.#unlink(record);
        this.#linkNewest(record);
      }
      if (this.#port[record] === port) return 0;
      this.#port[record] = port;
      this.generation++;
      return 2;
    }
    let outcome = 1;
    if (this.#free < 0) {
      if (this.#oldest < 0) return -1;
      this.#remove(this.#oldest);
      outcome = 3;
    }
    this.#linkNewest(this.#add(high, low, port, tick));
    return outcome;
  }

  /** Fixes an address to a port: never aged, moved or evicted. False when the table is full of fixed ones. */
  fix(high: number, low: number, port: number): boolean {
    const present = this.#find(high, low);
    if (present >= 0) this.#remove(present);
    if (this.#free < 0) {
      if (this.#oldest < 0) return false;
      this.#remove(this.#oldest);
    }
    this.#add(high, low, port, STATIC);
    return true;
  }

  forget(high: number, low: number): boolean {
    const record = this.#find(high, low);
    if (record < 0) return false;
    this.#remove(record);
    return true;
  }

  /** Forgets what was last seen before `tick`; gives how many. */
  expire(tick: number): number {
    let gone = 0;
    while (this.#oldest >= 0 && this.#tick[this.#oldest] < tick) {
      this.#remove(this.#oldest);
      gone++;
    }
    return gone;
  }

  /** Forgets every address of a port, fixed ones included. */
  purge(port: number): void {
    for (let slot = 0; slot <= this.#mask; slot++) {
      // A removal may move another record into this very slot.
      while (this.#slots[slot] !== 0 && this.#port[this.#slots[slot] - 1] === port) {
        this.#remove(this.#slots[slot] - 1);
      }
    }
  }

  /** For people: not on the data path. */
  *entries(): Generator<{ mac: number; port: number; fixed: boolean }> {
    for (const value of this.#slots) {
      if (value === 0) continue;
      const mac = this.#high[value - 1] * 2 ** 32 + (this.#low[value - 1] >>> 0);
      yield { mac, port: this.#port[value - 1], fixed: this.#tick[value - 1] === STATIC };
    }
  }

  #home(high: number, low: number): number {
    const hash = (hashWord(this.#secret, 0, high) + hashWord(this.#secret, 1, low)) | 0;
    return spread(hash) >>> this.#shift;
  }

  #find(high: number, low: number): number {
    const slots = this.#slots;
    for (let slot = this.#home(high, low); ; slot = (slot + 1) & this.#mask) {
      const record = slots[slot] - 1;
      if (record < 0) return NONE;
      if (this.#low[record] === low && this.#high[record] === high) return record;
    }
  }

  #add(high: number, low: number, port: number, tick: number): number {
    const record = this.#free;
    this.#free = this.#newer[record];
    this.#high[record] = high;
    this.#low[record] = low;
    this.#port[record] = port;
    this.#tick[record] = tick;
    let slot = this.#home(high, low);
    while (this.#slots[slot] !== 0) slot = (slot + 1) & this.#mask;
    this.#slots[slot] = record + 1;
    this.#size++;
    return record;
  }

  #remove(record: number): void {
    if (this.#tick[record] !== STATIC) this.#unlink(record);
    const slots = this.#slots;
    const mask = this.#mask;
    let hole = this.#home(this.#high[record], this.#low[record]);
    while (slots[hole] !== record + 1) hole = (hole + 1) & mask;
    for (let slot = (hole + 1) & mask; slots[slot] !== 0; slot = (slot + 1) & mask) {
      const moved = slots[slot] - 1;
      const home = this.#home(this.#high[moved], this.#low[moved]);
      if (((slot - home) & mask) < ((slot - hole) & mask)) continue;
      slots[hole] = slots[slot];
      hole = slot;
    }
    slots[hole] = 0;
    this.#newer[record] = this.#free;
    this.#free = record;
    this.#size--;
    this.generation++;
  }

  #unlink(record: number): void {
    const older = this.#older[record];
    const newer = this.#newer[record];
    if (older < 0) this.#oldest = newer;
    else this.#newer[older] = newer;
    if (newer < 0) this.#newest = older;
    else this.#older[newer] = older;
  }

  #linkNewest(record: number): void {
    this.#older[record] = this.#newest;
    this.#newer[record] = NONE;
    if (this.#newest < 0) this.#oldest = record;
    else this.#newer[this.#newest] = record;
    this.#newest = record;
  }
}
