/** Answers by name and type, for as long as their time to live says (RFC 1035 §3.2.1, RFC 2308 §5) and no longer than a bound. */

import type { Clock } from '@pktkit/core';

export interface CacheEntry<T> {
  readonly value: T;
  /** By the clock's `now`. */
  readonly expires: number;
}

export class DnsCache<T> {
  readonly #clock: Clock;
  readonly #limit: number;
  readonly #entries = new Map<string, CacheEntry<T>>();

  constructor(clock: Clock, limit: number) {
    this.#clock = clock;
    this.#limit = limit;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): T | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    if (entry.expires > this.#clock.now) return entry.value;
    this.#entries.delete(key);
    return undefined;
  }

  /** `ttl` in seconds; 0 is not kept. */
  set(key: string, value: T, ttl: number): void {
    if (ttl <= 0 || this.#limit === 0) return;
    this.#entries.delete(key);
    if (this.#entries.size >= this.#limit) this.#makeRoom();
    this.#entries.set(key, { value, expires: this.#clock.now + ttl * 1000 });
  }

  clear(): void {
    this.#entries.clear();
  }

  /** What has expired goes; when nothing has, the oldest entry. */
  #makeRoom(): void {
    const { now } = this.#clock;
    const before = this.#entries.size;
    for (const [key, entry] of this.#entries) if (entry.expires <= now) this.#entries.delete(key);
    if (this.#entries.size < before) return;
    for (const key of this.#entries.keys()) {
      this.#entries.delete(key);
      return;
    }
  }
}
