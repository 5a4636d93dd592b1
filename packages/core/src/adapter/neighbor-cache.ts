/**
 * Who has which address: the neighbours of one family on one link, with the reachability states of RFC 4861 §7.3, which
 * serve ARP as well.
 *
 *                    resolve                    answer to us
 *        (nothing) ──────────▶ INCOMPLETE ─────────────────────▶ REACHABLE ◀─────────────┐
 *            │                     │ 3 tries, 1 s apart             │ 15–45 s            │ answer to us
 *            │ asked us            ▼                                ▼                    │
 *            └────────────▶ (gone; packets unreachable)           STALE ──use──▶ DELAY ──5 s──▶ PROBE
 *                                  ▲                                                      │ 3 tries
 *                                  └──────────────────────────────────────────────────────┘
 *
 * What is believed. An Ethernet address is taken from an answer to a question we have asked (INCOMPLETE, and PROBE from the
 * address we asked), or from somebody who asks us, as STALE: that is, to be verified as soon as it is used. A claim that
 * contradicts a known entry never replaces it (RFC 826 and RFC 4861 §7.2.5 would let it): the entry is probed at its old
 * Ethernet address, stays if that still answers, and is resolved afresh if not. A fail-over therefore takes up to three
 * seconds, and a forged claim has no effect.
 *
 * Bounds: `limit` entries, the one not used for longest leaves (second chance); `maxUnresolved` questions under way, the oldest
 * gives way; 16 packets wait for each and `maxPendingBytes` in all.
 *
 * On the data path: `find4`, `find6`, then the arrays. Entry numbers stay valid until the next call that may add or remove.
 */

import type { Clock, Timer } from '../clock.ts';
import type { Packet } from '../packet.ts';
import type { Random32 } from '../random.ts';

export const NeighborState = {
  FREE: 0,
  INCOMPLETE: 1,
  REACHABLE: 2,
  STALE: 3,
  DELAY: 4,
  PROBE: 5,
} as const;

export interface NeighborStats {
  /** Entries made room for others. */
  evicted: number;
  /** Questions given up for newer ones. */
  unresolvedEvicted: number;
  /** Addresses that nobody answered for. */
  failed: number;
  /** Claims that contradicted a known entry and were verified instead of believed. */
  challenged: number;
  /** Waiting packets dropped because too many waited. */
  dropPending: number;
}

/** What the cache needs from the link: how to ask, and where packets go on. */
export interface NeighborLink {
  /** Asks for the entry's address: at its known Ethernet address, or everybody. */
  solicit(entry: number, unicast: boolean): void;
  /** The entry has an Ethernet address now: send what waited. */
  deliver(entry: number, packet: Packet): void;
  /** Nobody answered. The packets are the cache's own copies. */
  unreachable(w0: number, w1: number, w2: number, w3: number, waiting: readonly Packet[]): void;
}

export interface NeighborOptions {
  clock: Clock;
  random: Random32;
  limit?: number | undefined;
  maxUnresolved?: number | undefined;
  maxPendingBytes?: number | undefined;
}

/** RFC 4861 §10. */
const RETRANS_TIMER = 1000;
const MAX_SOLICIT = 3;
const DELAY_FIRST_PROBE = 5000;
const REACHABLE_TIME = 30_000;

const MAX_WAITING = 16;
/** Deadlines that lie closer together than this are handled in one pass. */
const COALESCE = 50;
const NONE: readonly Packet[] = [];

export class NeighborCache {
  readonly stats: NeighborStats = {
    evicted: 0,
    unresolvedEvicted: 0,
    failed: 0,
    challenged: 0,
    dropPending: 0,
  };
  /** By entry; read-only for others. */
  state: Uint8Array;
  /** The Ethernet address in two parts, both integers that need no heap: upper 16 and lower 32 bits. */
  macHigh: Int32Array;
  macLow: Int32Array;
  w0: Int32Array;
  w1: Int32Array;
  w2: Int32Array;
  w3: Int32Array;
  /** RFC 4861's IsRouter. */
  router: Uint8Array;
  /** Mean reachable time and solicitation interval in milliseconds, as routers may set them. */
  reachableTime: number = REACHABLE_TIME;
  retransTimer: number = RETRANS_TIMER;

  #used: Uint8Array;
  #tries: Uint8Array;
  #deadline: Float64Array;
  /** Neighbours in the list of unresolved entries, oldest first; and the list of free entries through `next`. */
  #next: Int32Array;
  #prev: Int32Array;
  #waiting: (Packet[] | null)[] = [];
  /** Open addressing with linear probing: entry + 1, or 0. */
  #slots: Int32Array;
  #mask: number;
  #capacity: number;
  #count = 0;
  #free = -1;
  #hand = 0;
  #oldest = -1;
  #newest = -1;
  #unresolved = 0;
  #pendingBytes = 0;
  readonly #seed: number;
  readonly #limit: number;
  readonly #maxUnresolved: number;
  readonly #maxPendingBytes: number;
  readonly #clock: Clock;
  readonly #random: Random32;
  readonly #link: NeighborLink;
  readonly #timer: Timer;

  constructor(link: NeighborLink, options: NeighborOptions) {
    this.#link = link;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#seed = options.random() | 0;
    this.#limit = options.limit ?? 4096;
    this.#maxUnresolved = options.maxUnresolved ?? 256;
    this.#maxPendingBytes = options.maxPendingBytes ?? 4 * 1024 * 1024;
    if (!Number.isInteger(this.#limit) || this.#limit < 1) {
      throw new RangeError(`a neighbour cache holds at least one entry, got ${options.limit}`);
    }
    this.#capacity = Math.min(16, this.#limit);
    this.state = new Uint8Array(this.#capacity);
    this.router = new Uint8Array(this.#capacity);
    this.macHigh = new Int32Array(this.#capacity);
    this.macLow = new Int32Array(this.#capacity);
    this.w0 = new Int32Array(this.#capacity);
    this.w1 = new Int32Array(this.#capacity);
    this.w2 = new Int32Array(this.#capacity);
    this.w3 = new Int32Array(this.#capacity);
    this.#used = new Uint8Array(this.#capacity);
    this.#tries = new Uint8Array(this.#capacity);
    this.#deadline = new Float64Array(this.#capacity);
    this.#next = new Int32Array(this.#capacity);
    this.#prev = new Int32Array(this.#capacity);
    this.#mask = slotsFor(this.#capacity) - 1;
    this.#slots = new Int32Array(this.#mask + 1);
    this.#addFree(0);
    this.#timer = this.#clock.timer(() => this.#sweep());
  }

  get size(): number {
    return this.#count;
  }

  /** The entry of an IPv4 address (signed 32 bits), or -1. For a cache that holds IPv4 only. */
  find4(ip: number): number {
    const slots = this.#slots;
    const mask = this.#mask;
    const w3 = this.w3;
    for (let slot = mix(ip ^ this.#seed) & mask; ; slot = (slot + 1) & mask) {
      const entry = slots[slot] - 1;
      if (entry < 0) return -1;
      if (w3[entry] === ip) {
        this.#used[entry] = 1;
        return entry;
      }
    }
  }

  /** The entry of an IPv6 address, or -1. */
  find6(w0: number, w1: number, w2: number, w3: number): number {
    const slots = this.#slots;
    const mask = this.#mask;
    for (let slot = this.#hash(w0, w1, w2, w3) & mask; ; slot = (slot + 1) & mask) {
      const entry = slots[slot] - 1;
      if (entry < 0) return -1;
      if (
        this.w3[entry] === w3 &&
        this.w2[entry] === w2 &&
        this.w1[entry] === w1 &&
        this.w0[entry] === w0
      ) {
        this.#used[entry] = 1;
        return entry;
      }
    }
  }

  /** The Ethernet address as 48 bits; -1 while there is none. */
  mac(entry: number): number {
    if (this.state[entry] === NeighborState.INCOMPLETE) return -1;
    return this.macHigh[entry] * 2 ** 32 + (this.macLow[entry] >>> 0);
  }

  /** Starts to ask for an address that is not in the cache; `packet`, copied, waits for the answer. */
  resolve(w0: number, w1: number, w2: number, w3: number, packet: Packet | null): void {
    if (this.#unresolved >= this.#maxUnresolved) {
      this.stats.unresolvedEvicted++;
      this.#remove(this.#oldest);
    }
    const entry = this.#add(w0, w1, w2, w3);
    this.state[entry] = NeighborState.INCOMPLETE;
    this.#tries[entry] = 1;
    this.#appendUnresolved(entry);
    if (packet !== null) this.#wait(entry, packet);
    this.#arm(entry, this.#clock.now + this.retransTimer);
    this.#link.solicit(entry, false);
  }

  /**
   * A packet is on its way to an entry that is not REACHABLE. True: it can go out now. False: it waits (as a copy) for the
   * answer.
   */
  use(entry: number, packet: Packet): boolean {
    if (this.state[entry] === NeighborState.INCOMPLETE) {
      this.#wait(entry, packet);
      return false;
    }
    if (this.state[entry] === NeighborState.STALE) {
      this.state[entry] = NeighborState.DELAY;
      this.#arm(entry, this.#clock.now + DELAY_FIRST_PROBE);
    }
    return true;
  }

  /** An answer came from `high:low`. True when it was one we waited for. */
  answered(entry: number, high: number, low: number): boolean {
    const state = this.state[entry];
    if (state === NeighborState.INCOMPLETE) {
      this.macHigh[entry] = high;
      this.macLow[entry] = low;
      this.#reachable(entry);
      this.#flush(entry);
      return true;
    }
    if (this.macHigh[entry] !== high || this.macLow[entry] !== low) {
      this.claimed(entry, high, low);
      return false;
    }
    if (state !== NeighborState.PROBE) return false;
    this.#reachable(entry);
    return true;
  }

  /** Somebody says unasked that the entry's address is at `high:low`. */
  claimed(entry: number, high: number, low: number): void {
    const state = this.state[entry];
    if (state === NeighborState.INCOMPLETE || state === NeighborState.PROBE) return;
    if (this.macHigh[entry] === high && this.macLow[entry] === low) return;
    this.stats.challenged++;
    this.#probe(entry);
  }

  /** Somebody who asks us, or asks for routers, told us where they are. */
  learn(w0: number, w1: number, w2: number, w3: number, high: number, low: number): number {
    const known = this.find6(w0, w1, w2, w3);
    if (known < 0) {
      const entry = this.#add(w0, w1, w2, w3);
      this.macHigh[entry] = high;
      this.macLow[entry] = low;
      this.state[entry] = NeighborState.STALE;
      this.#deadline[entry] = Number.POSITIVE_INFINITY;
      return entry;
    }
    if (this.state[known] === NeighborState.INCOMPLETE) {
      this.macHigh[known] = high;
      this.macLow[known] = low;
      this.#removeUnresolved(known);
      this.state[known] = NeighborState.STALE;
      this.#deadline[known] = Number.POSITIVE_INFINITY;
      this.#flush(known);
    } else {
      this.claimed(known, high, low);
    }
    return known;
  }

  /** Forgets everything; waiting packets are dropped. */
  clear(): void {
    for (let entry = 0; entry < this.#capacity; entry++) {
      if (this.state[entry] !== NeighborState.FREE) this.#remove(entry);
    }
    this.#timer.cancel();
  }

  #hash(w0: number, w1: number, w2: number, w3: number): number {
    // With zero words in front this is `mix(w3 ^ seed)`, as find4 computes it.
    let hash = w0 === 0 ? 0 : mix(w0 ^ this.#seed);
    if (w1 !== 0) hash = mix(hash ^ w1);
    if (w2 !== 0) hash = mix(hash ^ w2);
    return mix(hash ^ w3 ^ this.#seed);
  }

  #reachable(entry: number): void {
    if (this.state[entry] === NeighborState.INCOMPLETE) this.#removeUnresolved(entry);
    this.state[entry] = NeighborState.REACHABLE;
    // RFC 4861 §6.3.2: uniform between 0.5 and 1.5 of the mean, so that hosts do not ask in step.
    const span = this.reachableTime * (0.5 + this.#random() / 2 ** 32);
    this.#arm(entry, this.#clock.now + span);
  }

  #probe(entry: number): void {
    this.state[entry] = NeighborState.PROBE;
    this.#tries[entry] = 1;
    this.#arm(entry, this.#clock.now + this.retransTimer);
    this.#link.solicit(entry, true);
  }

  #wait(entry: number, packet: Packet): void {
    let waiting = this.#waiting[entry];
    if (waiting === null || waiting === undefined) {
      waiting = [];
      this.#waiting[entry] = waiting;
    }
    if (this.#pendingBytes + packet.len > this.#maxPendingBytes) {
      this.stats.dropPending++;
      return;
    }
    if (waiting.length === MAX_WAITING) {
      // RFC 4861 §7.2.2: the newest replaces the oldest.
      this.#pendingBytes -= (waiting.shift() as Packet).len;
      this.stats.dropPending++;
    }
    waiting.push(packet.clone());
    this.#pendingBytes += packet.len;
  }

  #takeWaiting(entry: number): readonly Packet[] {
    const waiting = this.#waiting[entry];
    if (waiting === null || waiting === undefined) return NONE;
    this.#waiting[entry] = null;
    for (const packet of waiting) this.#pendingBytes -= packet.len;
    return waiting;
  }

  #flush(entry: number): void {
    for (const packet of this.#takeWaiting(entry)) this.#link.deliver(entry, packet);
  }

  #arm(entry: number, deadline: number): void {
    this.#deadline[entry] = deadline;
    if (deadline < this.#timer.deadline) this.#timer.arm(deadline);
  }

  #sweep(): void {
    const now = this.#clock.now;
    // Emissions may add entries, which then have deadlines of their own.
    for (let entry = 0, end = this.#capacity; entry < end; entry++) {
      if (this.state[entry] === NeighborState.FREE || this.#deadline[entry] > now) continue;
      this.#expire(entry);
    }
    let next = Number.POSITIVE_INFINITY;
    for (let entry = 0; entry < this.#capacity; entry++) {
      if (this.state[entry] !== NeighborState.FREE && this.#deadline[entry] < next) {
        next = this.#deadline[entry];
      }
    }
    if (next < Number.POSITIVE_INFINITY) this.#timer.arm(Math.max(next, now + COALESCE));
  }

  #expire(entry: number): void {
    switch (this.state[entry]) {
      case NeighborState.REACHABLE:
        this.state[entry] = NeighborState.STALE;
        this.#deadline[entry] = Number.POSITIVE_INFINITY;
        return;
      case NeighborState.DELAY:
        this.#probe(entry);
        return;
      case NeighborState.INCOMPLETE:
      case NeighborState.PROBE:
        if (this.#tries[entry] < MAX_SOLICIT) {
          this.#tries[entry]++;
          this.#arm(entry, this.#clock.now + this.retransTimer);
          this.#link.solicit(entry, this.state[entry] === NeighborState.PROBE);
          return;
        }
        this.#fail(entry);
    }
  }

  #fail(entry: number): void {
    const w0 = this.w0[entry];
    const w1 = this.w1[entry];
    const w2 = this.w2[entry];
    const w3 = this.w3[entry];
    const waiting = this.#takeWaiting(entry);
    this.stats.failed++;
    this.#remove(entry);
    this.#link.unreachable(w0, w1, w2, w3, waiting);
  }

  #add(w0: number, w1: number, w2: number, w3: number): number {
    if (this.#free < 0) {
      if (this.#capacity < this.#limit) this.#grow();
      else this.#evict();
    }
    const entry = this.#free;
    this.#free = this.#next[entry];
    this.#count++;
    this.w0[entry] = w0;
    this.w1[entry] = w1;
    this.w2[entry] = w2;
    this.w3[entry] = w3;
    this.router[entry] = 0;
    this.#used[entry] = 1;
    this.#insertSlot(entry);
    return entry;
  }

  #remove(entry: number): void {
    if (this.state[entry] === NeighborState.INCOMPLETE) this.#removeUnresolved(entry);
    this.stats.dropPending += this.#takeWaiting(entry).length;
    this.#deleteSlot(entry);
    this.state[entry] = NeighborState.FREE;
    this.#next[entry] = this.#free;
    this.#free = entry;
    this.#count--;
  }

  /** Second chance: passes over what was used since the hand last came by. */
  #evict(): void {
    for (;;) {
      const entry = this.#hand;
      this.#hand = (entry + 1) % this.#capacity;
      if (this.#used[entry] === 1) {
        this.#used[entry] = 0;
        continue;
      }
      this.stats.evicted++;
      this.#remove(entry);
      return;
    }
  }

  #insertSlot(entry: number): void {
    let slot = this.#hash(this.w0[entry], this.w1[entry], this.w2[entry], this.w3[entry]);
    slot &= this.#mask;
    while (this.#slots[slot] !== 0) slot = (slot + 1) & this.#mask;
    this.#slots[slot] = entry + 1;
  }

  /** Moves later members of the run up, so that no tombstones are needed. */
  #deleteSlot(entry: number): void {
    const slots = this.#slots;
    const mask = this.#mask;
    let hole = this.#hash(this.w0[entry], this.w1[entry], this.w2[entry], this.w3[entry]) & mask;
    while (slots[hole] !== entry + 1) hole = (hole + 1) & mask;
    slots[hole] = 0;
    for (let slot = (hole + 1) & mask; slots[slot] !== 0; slot = (slot + 1) & mask) {
      const e = slots[slot] - 1;
      const home = this.#hash(this.w0[e], this.w1[e], this.w2[e], this.w3[e]) & mask;
      if (((slot - home) & mask) >= ((slot - hole) & mask)) {
        slots[hole] = e + 1;
        slots[slot] = 0;
        hole = slot;
      }
    }
  }

  #grow(): void {
    const from = this.#capacity;
    const capacity = Math.min(from * 4, this.#limit);
    this.#capacity = capacity;
    this.state = grown(this.state, new Uint8Array(capacity));
    this.router = grown(this.router, new Uint8Array(capacity));
    this.macHigh = grown(this.macHigh, new Int32Array(capacity));
    this.macLow = grown(this.macLow, new Int32Array(capacity));
    this.w0 = grown(this.w0, new Int32Array(capacity));
    this.w1 = grown(this.w1, new Int32Array(capacity));
    this.w2 = grown(this.w2, new Int32Array(capacity));
    this.w3 = grown(this.w3, new Int32Array(capacity));
    this.#used = grown(this.#used, new Uint8Array(capacity));
    this.#tries = grown(this.#tries, new Uint8Array(capacity));
    this.#deadline = grown(this.#deadline, new Float64Array(capacity));
    this.#next = grown(this.#next, new Int32Array(capacity));
    this.#prev = grown(this.#prev, new Int32Array(capacity));
    this.#mask = slotsFor(capacity) - 1;
    this.#slots = new Int32Array(this.#mask + 1);
    for (let entry = 0; entry < from; entry++) this.#insertSlot(entry);
    this.#addFree(from);
  }

  #addFree(from: number): void {
    for (let entry = this.#capacity - 1; entry >= from; entry--) {
      this.#next[entry] = this.#free;
      this.#free = entry;
    }
  }

  #appendUnresolved(entry: number): void {
    this.#prev[entry] = this.#newest;
    this.#next[entry] = -1;
    if (this.#newest < 0) this.#oldest = entry;
    else this.#next[this.#newest] = entry;
    this.#newest = entry;
    this.#unresolved++;
  }

  #removeUnresolved(entry: number): void {
    const prev = this.#prev[entry];
    const next = this.#next[entry];
    if (prev < 0) this.#oldest = next;
    else this.#next[prev] = next;
    if (next < 0) this.#newest = prev;
    else this.#prev[next] = prev;
    this.#unresolved--;
  }
}

/** Half empty at most, so that runs stay short. */
function slotsFor(capacity: number): number {
  let slots = 32;
  while (slots < capacity * 2) slots *= 2;
  return slots;
}

function mix(value: number): number {
  const hash = Math.imul(value ^ (value >>> 16), 0x45d9f3b);
  return hash ^ (hash >>> 15);
}

function grown<T extends Uint8Array | Int32Array | Float64Array>(from: T, into: T): T {
  into.set(from);
  return into;
}
