/**
 * Longest prefix match over both families: a prefix gives a small integer, which callers use as an index of their own.
 *
 * The truth is one hash table keyed by prefix and length, so adding and removing take constant time whatever the size; a
 * lookup there tries the lengths that occur, longest first. For IPv4 a sorted array of ranges answers faster (with a root of
 * 65,536 entries for large tables: a few memory accesses among 100,000 routes). It is rebuilt when, after a change, enough
 * lookups have come to be worth it; until then the hash table answers.
 */

import { FlowTable } from './flow-table.ts';
import { IpAddr, Prefix } from './ip.ts';
import type { Random32 } from './random.ts';

export interface RouteTableOptions {
  /** Most prefixes; `set` gives false beyond. 2^20 unless told. */
  capacity?: number | undefined;
  /** Source of the table's secret. */
  random?: Random32 | undefined;
}

const NONE = -1;
/** From so many ranges on the root pays for its memory (256 KiB). */
const ROOT_FROM = 256;
/** Answers that are remembered, one a slot. Traffic goes to few addresses at a time; to many, it costs a comparison. */
const RECENT_BITS = 8;

export class RouteTable {
  readonly #table: FlowTable;
  /** By record of the table. */
  readonly #values: number[] = [];
  readonly #counts4: number[] = new Array(33).fill(0);
  readonly #counts6: number[] = new Array(129).fill(0);
  /** The lengths that occur, longest first. */
  #lengths4: number[] = [];
  #lengths6: number[] = [];
  /** Pairs of a range's first address, its top bit flipped so that they order as signed integers, and its value. */
  #ranges: Int32Array = new Int32Array(0);
  /** For each upper 16 bits, the last range that starts at or before their first address; empty for small tables. */
  #root: Int32Array = new Int32Array(0);
  /** Pairs of an address and its answer, by `slotOf`: what was last found in the ranges. */
  readonly #recent: Int32Array = new Int32Array(2 << RECENT_BITS);
  /** Lookups to go until the ranges are rebuilt; 0 when they are current. */
  #stale = 0;

  constructor(options: RouteTableOptions = {}) {
    this.#table = new FlowTable({ capacity: options.capacity ?? 2 ** 20, random: options.random });
    this.#rebuild();
  }

  get size(): number {
    return this.#table.size;
  }

  /** Adds a prefix or changes its value, an integer from 0 to 2^31 - 1. False when the table is full. */
  set(prefix: Prefix, value: number): boolean {
    if (!Number.isInteger(value) || value < 0 || value > 0x7fffffff) {
      throw new RangeError(`the value of a route is 0 to 2^31 - 1, got ${value}`);
    }
    const { w0, w1, w2, w3 } = prefix.network.addr;
    const before = this.#table.size;
    const tag = tagOf(prefix.family, prefix.bits);
    const record = this.#table.insert(w0, w1, w2, w3, 0, 0, 0, 0, 0, tag);
    if (record < 0) return false;
    if (this.#table.size > before) this.#count(prefix, 1);
    else if (this.#values[record] === value) return true;
    this.#values[record] = value;
    this.#changed(prefix);
    return true;
  }

  /** The value of exactly this prefix, or -1. */
  get(prefix: Prefix): number {
    const record = this.#record(prefix);
    return record < 0 ? NONE : this.#values[record];
  }

  delete(prefix: Prefix): boolean {
    const record = this.#record(prefix);
    if (record < 0) return false;
    this.#table.remove(record);
    this.#count(prefix, -1);
    this.#changed(prefix);
    return true;
  }

  clear(): void {
    this.#table.clear();
    this.#counts4.fill(0);
    this.#counts6.fill(0);
    this.#lengths4 = [];
    this.#lengths6 = [];
    this.#rebuild();
  }

  /** The value of the longest prefix that holds the address, or -1. */
  lookup(address: IpAddr): number {
    if (address.family === 4) return this.lookup4(address.w3);
    return this.lookup6(address.w0, address.w1, address.w2, address.w3);
  }

  /** `lookup` for an IPv4 address as a signed 32-bit integer. */
  lookup4(address: number): number {
    if (this.#stale > 0) {
      if (--this.#stale > 0) return this.#search4(address);
      this.#rebuild();
    }
    const recent = this.#recent;
    const slot = slotOf(address);
    if (recent[slot] === address) return recent[slot + 1];
    const value = this.#searchRanges(address);
    recent[slot] = address;
    recent[slot + 1] = value;
    return value;
  }

  #searchRanges(address: number): number {
    const ranges = this.#ranges;
    const key = address ^ 0x80000000;
    let low = 0;
    let high = (ranges.length >> 1) - 1;
    if (this.#root.length > 0) {
      const chunk = address >>> 16;
      low = this.#root[chunk];
      high = this.#root[chunk + 1];
    }
    // The last range that starts at or before the key: at `low` or after, at `high` or before.
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (ranges[middle * 2] <= key) low = middle;
      else high = middle - 1;
    }
    return ranges[low * 2 + 1];
  }

  /** `lookup` for an IPv6 address as four signed words. */
  lookup6(w0: number, w1: number, w2: number, w3: number): number {
    const lengths = this.#lengths6;
    for (let i = 0; i < lengths.length; i++) {
      const bits = lengths[i];
      const record = this.#table.find(
        w0 & maskWord(bits),
        w1 & maskWord(bits - 32),
        w2 & maskWord(bits - 64),
        w3 & maskWord(bits - 96),
        0,
        0,
        0,
        0,
        0,
        tagOf(6, bits),
      );
      if (record >= 0) return this.#values[record];
    }
    return NONE;
  }

  /** All routes, in no order; for people and for rebuilding. */
  *entries(): Generator<{ prefix: Prefix; value: number }> {
    const table = this.#table;
    for (let record = 0; record < table.limit; record++) {
      if (!table.has(record)) continue;
      const word = (i: number) => table.keyWord(record, i);
      const tag = word(9);
      const addr =
        tag >> 8 === 4 ? IpAddr.v4(word(3)) : IpAddr.v6(word(0), word(1), word(2), word(3));
      yield { prefix: Prefix.of(addr, tag & 0xff), value: this.#values[record] };
    }
  }

  #record(prefix: Prefix): number {
    const { w0, w1, w2, w3 } = prefix.network.addr;
    return this.#table.find(w0, w1, w2, w3, 0, 0, 0, 0, 0, tagOf(prefix.family, prefix.bits));
  }

  #search4(address: number): number {
    const lengths = this.#lengths4;
    for (let i = 0; i < lengths.length; i++) {
      const bits = lengths[i];
      const network = address & maskWord(bits);
      const record = this.#table.find(0, 0, 0xffff, network, 0, 0, 0, 0, 0, tagOf(4, bits));
      if (record >= 0) return this.#values[record];
    }
    return NONE;
  }

  #count(prefix: Prefix, step: number): void {
    const counts = prefix.family === 4 ? this.#counts4 : this.#counts6;
    counts[prefix.bits] += step;
    if (counts[prefix.bits] > 1 || (counts[prefix.bits] === 1 && step < 0)) return;
    const lengths: number[] = [];
    for (let bits = counts.length - 1; bits >= 0; bits--) if (counts[bits] > 0) lengths.push(bits);
    if (prefix.family === 4) this.#lengths4 = lengths;
    else this.#lengths6 = lengths;
  }

  #changed(prefix: Prefix): void {
    // Rebuilding costs about as much as four searches a route.
    if (prefix.family === 4) this.#stale = 2 + this.#table.size * 4;
  }

  #rebuild(): void {
    this.#stale = 0;
    const table = this.#table;
    const records: number[] = [];
    for (let record = 0; record < table.limit; record++) {
      if (table.has(record) && table.keyWord(record, 9) >> 8 === 4) records.push(record);
    }
    const start = (record: number) => table.keyWord(record, 3) >>> 0;
    const bits = (record: number) => table.keyWord(record, 9) & 0xff;
    // A prefix comes before those within it.
    records.sort((a, b) => start(a) - start(b) || bits(a) - bits(b));
    const starts: number[] = [];
    const results: number[] = [];
    const emit = (at: number, value: number) => {
      if (starts.length > 0 && starts[starts.length - 1] === at) {
        results[results.length - 1] = value;
        return;
      }
      if (results.length > 0 && results[results.length - 1] === value) return;
      starts.push(at);
      results.push(value);
    };
    emit(0, NONE);
    const open: Array<{ end: number; value: number }> = [];
    const close = (before: number) => {
      for (let top = open.at(-1); top !== undefined && top.end <= before; top = open.at(-1)) {
        open.pop();
        if (top.end < 2 ** 32) emit(top.end, open.at(-1)?.value ?? NONE);
      }
    };
    for (const record of records) {
      close(start(record));
      const value = this.#values[record];
      emit(start(record), value);
      open.push({ end: start(record) + 2 ** (32 - bits(record)), value });
    }
    close(2 ** 32);
    this.#ranges = new Int32Array(starts.length * 2);
    for (let i = 0; i < starts.length; i++) {
      this.#ranges[i * 2] = starts[i] ^ 0x80000000;
      this.#ranges[i * 2 + 1] = results[i];
    }
    this.#root = starts.length < ROOT_FROM ? new Int32Array(0) : rootOf(starts);
    // Nothing matches: 0.0.0.0 belongs into the first slot only, and 0.0.0.1 into another.
    this.#recent.fill(0);
    this.#recent[0] = 1;
  }
}

/** Where the answer for an address is remembered: an even index. */
function slotOf(address: number): number {
  return (Math.imul(address, 0x9e3779b1) >>> (32 - RECENT_BITS)) << 1;
}

function tagOf(family: number, bits: number): number {
  return (family << 8) | bits;
}

function maskWord(bits: number): number {
  if (bits <= 0) return 0;
  return bits >= 32 ? -1 : -1 << (32 - bits);
}

function rootOf(starts: readonly number[]): Int32Array {
  const root = new Int32Array(65537);
  let range = 0;
  for (let chunk = 0; chunk <= 65536; chunk++) {
    while (range + 1 < starts.length && starts[range + 1] <= chunk * 65536) range++;
    root[chunk] = range;
  }
  return root;
}
