/** Entries that all live equally long leave in the order in which they came: one list, one timer. */

import type { Clock, Timer } from '@pktkit/core';

export interface Expiring<T> {
  deadline: number;
  older: T | null;
  newer: T | null;
}

export class ExpiryQueue<T extends Expiring<T>> {
  size = 0;
  oldest: T | null = null;
  #newest: T | null = null;
  readonly #clock: Clock;
  readonly #lifetime: number;
  readonly #onExpired: (entry: T) => void;
  #timer: Timer | null = null;

  /** `onExpired` is told after the entry has left. */
  constructor(clock: Clock, lifetime: number, onExpired: (entry: T) => void) {
    this.#clock = clock;
    this.#lifetime = lifetime;
    this.#onExpired = onExpired;
  }

  append(entry: T, now: number): void {
    entry.deadline = now + this.#lifetime;
    entry.older = this.#newest;
    entry.newer = null;
    if (this.#newest === null) this.oldest = entry;
    else this.#newest.newer = entry;
    this.#newest = entry;
    if (++this.size > 1) return;
    this.#timer ??= this.#clock.timer(() => this.#expire());
    this.#timer.arm(entry.deadline);
  }

  remove(entry: T): void {
    if (entry.older === null) this.oldest = entry.newer;
    else entry.older.newer = entry.newer;
    if (entry.newer === null) this.#newest = entry.older;
    else entry.newer.older = entry.older;
    entry.older = entry.newer = null;
    if (--this.size === 0) this.#timer?.cancel();
  }

  #expire(): void {
    const now = this.#clock.now;
    while (this.oldest !== null && this.oldest.deadline <= now) {
      const entry = this.oldest;
      this.remove(entry);
      this.#onExpired(entry);
    }
    if (this.oldest !== null) this.#timer?.arm(this.oldest.deadline);
  }
}
